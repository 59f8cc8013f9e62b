// The bodies of Hrana's requests.
// Input: kind u8 (0: a pipeline of version 2, 1: of version 3, 2: a cursor; 3: base64) | the body

#include <cmath>
#include <nlohmann/json.hpp>

#include "src/primary/hrana_request.h"
#include "src/primary/json_text.h"
#include "tests/fuzz/fuzz.h"

namespace turso {
namespace {

using Json = nlohmann::json;

// A client of our own: what a parsed request would have been sent as.
Json ValueJson(const HranaValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value))
    return {{"type", "integer"}, {"value", std::to_string(*integer)}};
  if (const auto* real = std::get_if<double>(&value)) return {{"type", "float"}, {"value", *real}};
  if (const auto* text = std::get_if<std::string>(&value))
    return {{"type", "text"}, {"value", *text}};
  if (const auto* blob = std::get_if<HranaBlob>(&value))
    return {{"type", "blob"}, {"base64", EncodeBase64(blob->bytes)}};
  return {{"type", "null"}};
}

void AddSql(const HranaSql& sql, Json* json) {
  if (sql.text) (*json)["sql"] = *sql.text;
  if (sql.id) (*json)["sql_id"] = *sql.id;
}

Json StatementJson(const HranaStatement& statement) {
  Json json = {{"want_rows", statement.want_rows}, {"args", Json::array()}};
  AddSql(statement.sql, &json);
  for (const HranaValue& value : statement.args) json["args"].push_back(ValueJson(value));
  for (const auto& [name, value] : statement.named_args)
    json["named_args"].push_back({{"name", name}, {"value", ValueJson(value)}});
  return json;
}

Json ConditionJson(const HranaCondition& condition) {
  using Type = HranaCondition::Type;
  Json list = Json::array();
  for (const HranaCondition& one : condition.conditions) list.push_back(ConditionJson(one));
  switch (condition.type) {
    case Type::kOk: return {{"type", "ok"}, {"step", condition.step}};
    case Type::kError: return {{"type", "error"}, {"step", condition.step}};
    case Type::kNot: return {{"type", "not"}, {"cond", list.at(0)}};
    case Type::kAnd: return {{"type", "and"}, {"conds", list}};
    case Type::kOr: return {{"type", "or"}, {"conds", list}};
    case Type::kIsAutocommit: return {{"type", "is_autocommit"}};
  }
  return {};
}

Json BatchJson(const std::vector<HranaStep>& steps) {
  Json list = Json::array();
  for (const HranaStep& step : steps) {
    Json json = {{"stmt", StatementJson(step.statement)}};
    if (step.condition) json["condition"] = ConditionJson(*step.condition);
    list.push_back(json);
  }
  return {{"steps", list}};
}

Json RequestJson(const HranaRequest& request) {
  using Type = HranaRequest::Type;
  static const char* const kNames[] = {"close",    "execute",   "batch",     "sequence",
                                       "describe", "store_sql", "close_sql", "get_autocommit"};
  Json json = {{"type", kNames[static_cast<int>(request.type)]}};
  if (request.type == Type::kExecute) json["stmt"] = StatementJson(request.statement);
  if (request.type == Type::kBatch) json["batch"] = BatchJson(request.steps);
  if (request.type > Type::kBatch) AddSql(request.statement.sql, &json);
  return json;
}

void CheckCondition(const HranaCondition& condition, size_t step) {
  using Type = HranaCondition::Type;
  if (condition.type == Type::kOk || condition.type == Type::kError)
    TURSO_REQUIRE(condition.step < step);
  if (condition.type == Type::kNot) TURSO_REQUIRE(condition.conditions.size() == 1);
  for (const HranaCondition& one : condition.conditions) CheckCondition(one, step);
}

Result<HranaPipeline> Parse(std::string_view body, int kind) {
  if (kind == 2) return ParseHranaCursor(body);
  return ParseHranaPipeline(body, kind == 0 ? HranaVersion::k2 : HranaVersion::k3);
}

Json PipelineJson(const HranaPipeline& pipeline, int kind) {
  Json json;
  if (pipeline.baton) json["baton"] = *pipeline.baton;
  if (kind == 2) {
    json["batch"] = BatchJson(pipeline.requests.at(0).steps);
    return json;
  }
  json["requests"] = Json::array();
  for (const HranaRequest& request : pipeline.requests)
    json["requests"].push_back(RequestJson(request));
  return json;
}

// Every number that a client sent is the one that we read.
void CheckNumbers(const Json& body, const HranaPipeline& pipeline) {
  for (size_t i = 0; i < pipeline.requests.size(); i++) {
    const HranaSql& sql = pipeline.requests[i].statement.sql;
    const Json& sent = body.at("requests").at(i);
    const Json& where = sent.contains("stmt") && sent["stmt"].is_object() ? sent["stmt"] : sent;
    if (sql.id) TURSO_REQUIRE(where.at("sql_id") == *sql.id);
  }
}

void CheckBody(std::string_view body, int kind) {
  fuzz::AllocationMeter meter;
  Result<HranaPipeline> pipeline = Parse(body, kind);
  TURSO_REQUIRE(meter.peak() <= 200 * body.size() + (64u << 10));
  if (!pipeline.ok()) {
    TURSO_REQUIRE(pipeline.status().code() == Code::kInvalid);
    TURSO_REQUIRE(pipeline.status().text().rfind("bad request: ", 0) == 0);
    return;
  }
  for (const HranaRequest& request : pipeline->requests) {
    for (size_t i = 0; i < request.steps.size(); i++) {
      if (request.steps[i].condition) CheckCondition(*request.steps[i].condition, i);
    }
  }
  if (kind != 2) CheckNumbers(Json::parse(body), *pipeline);
  const Json written = PipelineJson(*pipeline, kind);
  Result<HranaPipeline> again = Parse(written.dump(), kind);
  TURSO_REQUIRE(again.ok() && PipelineJson(*again, kind) == written);
}

void CheckBase64(std::string_view text) {
  TURSO_REQUIRE(DecodeBase64(EncodeBase64(text)) == std::string(text));
  if (std::optional<std::string> bytes = DecodeBase64(text)) {
    TURSO_REQUIRE(bytes->size() <= text.size());
    TURSO_REQUIRE(DecodeBase64(EncodeBase64(*bytes)) == bytes);
  }
  TURSO_REQUIRE(!Json::parse(JsonText(text), nullptr, false).is_discarded());
  std::string out;
  if (AppendJsonText(&out, text)) TURSO_REQUIRE(Json::parse(out) == text);
}

}  // namespace
}  // namespace turso

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace turso;
  fuzz::Input in({data, size});
  const int kind = in.U8() % 4;
  const std::string_view body = AsText(in.rest());
  if (kind == 3) {
    CheckBase64(body);
  } else {
    CheckBody(body, kind);
  }
  return 0;
}
