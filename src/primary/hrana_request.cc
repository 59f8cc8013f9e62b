#include "src/primary/hrana_request.h"

#include <gnutls/gnutls.h>

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

namespace turso {

namespace {

using Json = nlohmann::json;

// Conditions nest; this bounds how deep one can take the stack.
constexpr int kConditionDepthMax = 100;

Status Bad(const std::string& what) { return Status(Code::kInvalid, "bad request: " + what); }

// The field, or null if it is absent or null.
Json* Field(Json& object, const char* name) {
  auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<std::string> TakeText(Json& object, const char* name, const std::string& where) {
  Json* field = Field(object, name);
  if (!field || !field->is_string()) return Bad(where + ": `" + name + "` must be a string");
  return std::move(field->get_ref<std::string&>());
}

Result<int64_t> ParseInteger(Json& object, const std::string& where) {
  Json* field = Field(object, "value");
  if (field && field->is_number_integer()) {
    if (!field->is_number_unsigned() ||
        field->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()}) {
      return field->get<int64_t>();
    }
  } else if (field && field->is_string()) {
    const auto& text = field->get_ref<const std::string&>();
    int64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
  }
  return Bad(where +
             ": the value of an integer must be a 64-bit number, as decimal digits in a string");
}

Result<HranaValue> ParseValue(Json& json, const std::string& where) {
  if (!json.is_object()) return Bad(where + " must be an object");
  Result<std::string> type = TakeText(json, "type", where);
  if (!type.ok()) return type.status();
  if (*type == "null") return HranaValue();
  if (*type == "integer") {
    Result<int64_t> value = ParseInteger(json, where);
    if (!value.ok()) return value.status();
    return HranaValue(*value);
  }
  if (*type == "float") {
    Json* value = Field(json, "value");
    if (!value || !value->is_number())
      return Bad(where + ": the value of a float must be a number");
    return HranaValue(value->get<double>());
  }
  if (*type == "text") {
    Result<std::string> value = TakeText(json, "value", where);
    if (!value.ok()) return value.status();
    return HranaValue(std::move(*value));
  }
  if (*type == "blob") {
    Result<std::string> value = TakeText(json, "base64", where);
    if (!value.ok()) return value.status();
    std::optional<std::string> bytes = DecodeBase64(*value);
    if (!bytes) return Bad(where + ": `base64` is not base64");
    return HranaValue(HranaBlob{std::move(*bytes)});
  }
  return Bad(where + ": unknown type of value \"" + *type + "\"");
}

Result<HranaSql> ParseSql(Json& json, const std::string& where) {
  HranaSql sql;
  if (Json* text = Field(json, "sql")) {
    if (!text->is_string()) return Bad(where + ": `sql` must be a string");
    sql.text = std::move(text->get_ref<std::string&>());
  }
  if (Json* id = Field(json, "sql_id")) {
    if (!id->is_number_integer()) return Bad(where + ": `sql_id` must be an integer");
    // A number above all of int64_t would be read as a negative one.
    const bool is_large = id->is_number_unsigned() &&
                          id->get<uint64_t>() > uint64_t{std::numeric_limits<int32_t>::max()};
    const int64_t value = id->get<int64_t>();
    if (is_large || value < std::numeric_limits<int32_t>::min()) {
      return Bad(where + ": `sql_id` must have 32 bits");
    }
    sql.id = static_cast<int32_t>(value);
  }
  return sql;
}

Status RequireEitherSql(const HranaSql& sql, const std::string& where) {
  if (sql.text.has_value() != sql.id.has_value()) return OkStatus();
  return Bad(where + ": exactly one of `sql` and `sql_id` must be given");
}

Result<HranaStatement> ParseStatement(Json* json, const std::string& where) {
  if (!json || !json->is_object()) return Bad(where + ": `stmt` must be an object");
  HranaStatement statement;
  Result<HranaSql> sql = ParseSql(*json, where);
  if (!sql.ok()) return sql.status();
  statement.sql = std::move(*sql);
  TURSO_RETURN_IF_ERROR(RequireEitherSql(statement.sql, where));
  if (Json* args = Field(*json, "args")) {
    if (!args->is_array()) return Bad(where + ": `args` must be an array");
    for (Json& arg : *args) {
      Result<HranaValue> value =
          ParseValue(arg, where + ": args[" + std::to_string(statement.args.size()) + "]");
      if (!value.ok()) return value.status();
      statement.args.push_back(std::move(*value));
    }
  }
  if (Json* args = Field(*json, "named_args")) {
    if (!args->is_array()) return Bad(where + ": `named_args` must be an array");
    for (Json& arg : *args) {
      std::string at = where + ": named_args[" + std::to_string(statement.named_args.size()) + "]";
      if (!arg.is_object() || !Field(arg, "value"))
        return Bad(at + " must be an object with `name` and `value`");
      Result<std::string> name = TakeText(arg, "name", at);
      if (!name.ok()) return name.status();
      Result<HranaValue> value = ParseValue(*Field(arg, "value"), at);
      if (!value.ok()) return value.status();
      statement.named_args.emplace_back(std::move(*name), std::move(*value));
    }
  }
  if (Json* want = Field(*json, "want_rows")) {
    if (!want->is_boolean()) return Bad(where + ": `want_rows` must be true or false");
    statement.want_rows = want->get<bool>();
  }
  return statement;
}

struct ConditionContext {
  HranaVersion version;
  size_t step;
  std::string where;
};

Result<HranaCondition> ParseCondition(Json& json, const ConditionContext& context, int depth) {
  const std::string& where = context.where;
  if (depth > kConditionDepthMax) return Bad(where + ": the condition is nested too deep");
  if (!json.is_object()) return Bad(where + ": a condition must be an object");
  Result<std::string> type = TakeText(json, "type", where + ": condition");
  if (!type.ok()) return type.status();
  HranaCondition condition;
  if (*type == "ok" || *type == "error") {
    condition.type = *type == "ok" ? HranaCondition::Type::kOk : HranaCondition::Type::kError;
    Json* step = Field(json, "step");
    if (!step || !step->is_number_unsigned() || step->get<uint64_t>() >= context.step) {
      return Bad(where + ": a condition must name an earlier step");
    }
    condition.step = step->get<size_t>();
  } else if (*type == "not") {
    condition.type = HranaCondition::Type::kNot;
    Json* inner = Field(json, "cond");
    if (!inner) return Bad(where + ": the condition `not` needs `cond`");
    Result<HranaCondition> parsed = ParseCondition(*inner, context, depth + 1);
    if (!parsed.ok()) return parsed.status();
    condition.conditions.push_back(std::move(*parsed));
  } else if (*type == "and" || *type == "or") {
    condition.type = *type == "and" ? HranaCondition::Type::kAnd : HranaCondition::Type::kOr;
    Json* inner = Field(json, "conds");
    if (!inner || !inner->is_array())
      return Bad(where + ": the condition `" + *type + "` needs an array `conds`");
    for (Json& one : *inner) {
      Result<HranaCondition> parsed = ParseCondition(one, context, depth + 1);
      if (!parsed.ok()) return parsed.status();
      condition.conditions.push_back(std::move(*parsed));
    }
  } else if (*type == "is_autocommit" && context.version >= HranaVersion::k3) {
    condition.type = HranaCondition::Type::kIsAutocommit;
  } else {
    return Bad(where + ": unknown condition \"" + *type + "\"");
  }
  return condition;
}

Result<std::vector<HranaStep>> ParseBatch(Json* batch, HranaVersion version,
                                          const std::string& where) {
  Json* list = batch && batch->is_object() ? Field(*batch, "steps") : nullptr;
  if (!list || !list->is_array())
    return Bad(where + ": `batch` must be an object with an array `steps`");
  std::vector<HranaStep> steps;
  for (Json& json : *list) {
    std::string at = where + ": steps[" + std::to_string(steps.size()) + "]";
    if (!json.is_object()) return Bad(at + " must be an object");
    HranaStep step;
    if (Json* condition = Field(json, "condition")) {
      Result<HranaCondition> parsed = ParseCondition(*condition, {version, steps.size(), at}, 0);
      if (!parsed.ok()) return parsed.status();
      step.condition = std::move(*parsed);
    }
    Result<HranaStatement> statement = ParseStatement(Field(json, "stmt"), at);
    if (!statement.ok()) return statement.status();
    step.statement = std::move(*statement);
    steps.push_back(std::move(step));
  }
  return steps;
}

Status ParseBareSql(Json& json, HranaRequest* request, const std::string& where) {
  Result<HranaSql> sql = ParseSql(json, where);
  if (!sql.ok()) return sql.status();
  request->statement.sql = std::move(*sql);
  const HranaSql& given = request->statement.sql;
  switch (request->type) {
    case HranaRequest::Type::kStoreSql:
      if (!given.text || !given.id) return Bad(where + ": store_sql needs `sql` and `sql_id`");
      return OkStatus();
    case HranaRequest::Type::kCloseSql:
      if (!given.id) return Bad(where + ": close_sql needs `sql_id`");
      return OkStatus();
    default: return RequireEitherSql(given, where);
  }
}

Result<HranaRequest> ParseRequest(Json& json, HranaVersion version, const std::string& where) {
  using Type = HranaRequest::Type;
  if (!json.is_object()) return Bad(where + " must be an object");
  Result<std::string> type = TakeText(json, "type", where);
  if (!type.ok()) return type.status();
  HranaRequest request;
  if (*type == "close") return request;
  if (*type == "execute") {
    request.type = Type::kExecute;
    Result<HranaStatement> statement = ParseStatement(Field(json, "stmt"), where);
    if (!statement.ok()) return statement.status();
    request.statement = std::move(*statement);
    return request;
  }
  if (*type == "batch") {
    request.type = Type::kBatch;
    Result<std::vector<HranaStep>> steps = ParseBatch(Field(json, "batch"), version, where);
    if (!steps.ok()) return steps.status();
    request.steps = std::move(*steps);
    return request;
  }
  if (*type == "get_autocommit" && version >= HranaVersion::k3) {
    request.type = Type::kGetAutocommit;
    return request;
  }
  if (*type == "sequence") {
    request.type = Type::kSequence;
  } else if (*type == "describe") {
    request.type = Type::kDescribe;
  } else if (*type == "store_sql") {
    request.type = Type::kStoreSql;
  } else if (*type == "close_sql") {
    request.type = Type::kCloseSql;
  } else {
    return Bad(where + ": unknown type of request \"" + *type + "\"");
  }
  TURSO_RETURN_IF_ERROR(ParseBareSql(json, &request, where));
  return request;
}

Result<Json> ParseBody(std::string_view body, HranaPipeline* pipeline) {
  Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Bad("the body is not JSON");
  if (!json.is_object()) return Bad("the body must be a JSON object");
  if (Json* baton = Field(json, "baton")) {
    if (!baton->is_string()) return Bad("`baton` must be a string or null");
    pipeline->baton = std::move(baton->get_ref<std::string&>());
  }
  return json;
}

}  // namespace

Result<HranaPipeline> ParseHranaPipeline(std::string_view body, HranaVersion version) {
  HranaPipeline pipeline;
  Result<Json> json = ParseBody(body, &pipeline);
  if (!json.ok()) return json.status();
  Json* requests = Field(*json, "requests");
  if (!requests || !requests->is_array()) return Bad("`requests` must be an array");
  for (Json& one : *requests) {
    std::string where = "requests[" + std::to_string(pipeline.requests.size()) + "]";
    Result<HranaRequest> request = ParseRequest(one, version, where);
    if (!request.ok()) return request.status();
    pipeline.requests.push_back(std::move(*request));
  }
  return pipeline;
}

Result<HranaPipeline> ParseHranaCursor(std::string_view body) {
  HranaPipeline pipeline;
  Result<Json> json = ParseBody(body, &pipeline);
  if (!json.ok()) return json.status();
  HranaRequest request;
  request.type = HranaRequest::Type::kBatch;
  Result<std::vector<HranaStep>> steps =
      ParseBatch(Field(*json, "batch"), HranaVersion::k3, "the cursor");
  if (!steps.ok()) return steps.status();
  request.steps = std::move(*steps);
  pipeline.requests.push_back(std::move(request));
  return pipeline;
}

std::string EncodeBase64(std::string_view bytes) {
  if (bytes.empty()) return {};
  gnutls_datum_t in{reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data())),
                    static_cast<unsigned>(bytes.size())};
  gnutls_datum_t out{};
  if (gnutls_base64_encode2(&in, &out) != 0) throw std::bad_alloc();
  std::string text(reinterpret_cast<char*>(out.data), out.size);
  gnutls_free(out.data);
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.empty()) return std::string();
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 == 1 || text.find_first_not_of(kAlphabet) != std::string_view::npos)
    return std::nullopt;
  std::string padded(text);
  padded.append((4 - padded.size() % 4) % 4, '=');
  gnutls_datum_t in{reinterpret_cast<unsigned char*>(padded.data()),
                    static_cast<unsigned>(padded.size())};
  gnutls_datum_t out{};
  if (gnutls_base64_decode2(&in, &out) != 0) return std::nullopt;
  std::string bytes(reinterpret_cast<char*>(out.data), out.size);
  gnutls_free(out.data);
  return bytes;
}

}  // namespace turso
