#include "src/remote/hrana_message.h"

#include <bit>
#include <map>
#include <utility>

#include "src/base/printable.h"
#include "src/remote/protobuf.h"

namespace turso {

namespace {

// libsql-hrana/src/proto.rs
enum Field : uint32_t {
  kPipelineBaton = 1,
  kPipelineRequests = 2,
  kPipelineBaseUrl = 2,
  kPipelineResults = 3,
  kResultOk = 1,
  kResultError = 2,
  kClose = 1,
  kExecute = 2,
  kBatch = 3,
  kOnly = 1,  // The one field of a message that wraps another.
  kStmtSql = 1,
  kStmtArgs = 3,
  kStepCondition = 1,
  kStepStmt = 2,
  kCondOk = 1,
  kCondNot = 3,
  kCondAnd = 4,
  kCondIsAutocommit = 6,
  kStmtResultRows = 2,
  kStmtResultIndex = 5,
  kErrorMessage = 1,
  kErrorCode = 2,
  kEntryKey = 1,
  kEntryValue = 2,
  kValueNull = 1,
  kValueInteger = 2,
  kValueReal = 3,
  kValueText = 4,
  kValueBlob = 5,
};

std::string Wrapped(uint32_t field, std::string_view message) {
  return ProtobufWriter().Bytes(field, message).Take();
}

std::string Encoded(const Value& value) {
  ProtobufWriter writer;
  switch (value.type) {
    case Value::Type::kNull: writer.Bytes(kValueNull, ""); break;
    case Value::Type::kInteger: writer.ZigZag(kValueInteger, value.integer); break;
    case Value::Type::kReal: writer.Double(kValueReal, value.real); break;
    case Value::Type::kText: writer.Bytes(kValueText, AsText(value.bytes)); break;
    case Value::Type::kBlob: writer.Bytes(kValueBlob, AsText(value.bytes)); break;
  }
  return writer.Take();
}

std::string Encoded(const Statement& statement) {
  ProtobufWriter writer;
  writer.Bytes(kStmtSql, statement.sql);
  for (const Value& value : statement.arguments) writer.Bytes(kStmtArgs, Encoded(value));
  return writer.Take();
}

// In a transaction, and behind `step`, if there is one before.
std::string ConditionBehind(std::optional<uint32_t> step) {
  const std::string inside = Wrapped(kCondNot, Wrapped(kCondIsAutocommit, ""));
  if (!step) return inside;
  ProtobufWriter both;
  both.Bytes(kOnly, ProtobufWriter().Varint(kCondOk, *step).message());
  both.Bytes(kOnly, inside);
  return Wrapped(kCondAnd, both.message());
}

// Calls `take` with each field.
template <typename Take>
Status ForEachField(ByteView message, Take take) {
  ProtobufReader reader(message);
  for (;;) {
    Result<std::optional<ProtobufField>> field = reader.Next();
    if (!field.ok()) return field.status();
    if (!field->has_value()) return OkStatus();
    TURSO_RETURN_IF_ERROR(take(**field));
  }
}

bool IsBytes(const ProtobufField& field, uint32_t number) {
  return field.number == number && field.type == WireType::kBytes;
}

Status ReadValue(ByteView message, Value* value) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (IsBytes(field, kValueNull)) *value = Value::Null();
    if (IsBytes(field, kValueText)) *value = Value::Text(field.bytes);
    if (IsBytes(field, kValueBlob)) *value = Value::Blob(field.bytes);
    if (field.number == kValueInteger && field.type == WireType::kVarint)
      *value = Value::Integer(FromZigZag(field.value));
    if (field.number == kValueReal && field.type == WireType::kFixed64)
      *value = Value::Real(std::bit_cast<double>(field.value));
    return OkStatus();
  });
}

Status ReadRow(ByteView message, std::vector<Value>* row) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (!IsBytes(field, kOnly)) return OkStatus();
    return ReadValue(field.bytes, &row->emplace_back());
  });
}

Status ReadStmtResult(ByteView message, HranaResult* result) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (IsBytes(field, kStmtResultRows)) return ReadRow(field.bytes, &result->rows.emplace_back());
    if (field.number == kStmtResultIndex && field.type == WireType::kVarint)
      result->last_frame = field.value;
    return OkStatus();
  });
}

Status ReadError(ByteView message, HranaError* error) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (IsBytes(field, kErrorMessage)) error->message = Printable(field.text());
    if (IsBytes(field, kErrorCode)) error->code = Printable(field.text());
    return OkStatus();
  });
}

// An entry of a map: which step, and its message.
Status ReadEntry(ByteView message, uint64_t* key, ByteView* value) {
  *key = 0;
  return ForEachField(message, [&](const ProtobufField& field) {
    if (field.number == kEntryKey && field.type == WireType::kVarint) *key = field.value;
    if (IsBytes(field, kEntryValue)) *value = field.bytes;
    return OkStatus();
  });
}

Status ReadBatchResult(ByteView message, HranaResult* result) {
  std::map<uint64_t, bool> done;
  std::map<uint64_t, HranaError> errors;
  TURSO_RETURN_IF_ERROR(ForEachField(message, [&](const ProtobufField& field) {
    if (!IsBytes(field, kResultOk) && !IsBytes(field, kResultError)) return OkStatus();
    uint64_t step = 0;
    ByteView value;
    if (Status entry = ReadEntry(field.bytes, &step, &value); !entry.ok()) return entry;
    if (field.number == kResultError) return ReadError(value, &errors[step]);
    done[step] = true;
    return OkStatus();
  }));
  while (done.count(result->steps_done) != 0) result->steps_done++;
  if (!errors.empty()) result->error = errors.begin()->second;
  return OkStatus();
}

Status ReadResponse(ByteView message, HranaResult* result) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (!IsBytes(field, kExecute) && !IsBytes(field, kBatch)) return OkStatus();
    const bool batch = field.number == kBatch;
    return ForEachField(field.bytes, [&](const ProtobufField& inner) {
      if (!IsBytes(inner, kOnly)) return OkStatus();
      return batch ? ReadBatchResult(inner.bytes, result) : ReadStmtResult(inner.bytes, result);
    });
  });
}

Status ReadResult(ByteView message, HranaResult* result) {
  return ForEachField(message, [&](const ProtobufField& field) {
    if (IsBytes(field, kResultOk)) return ReadResponse(field.bytes, result);
    if (IsBytes(field, kResultError)) return ReadError(field.bytes, &result->error.emplace());
    return OkStatus();
  });
}

}  // namespace

HranaRequest& HranaRequest::Execute(const Statement& statement) {
  const std::string execute = Wrapped(kOnly, Encoded(statement));
  requests_ += Wrapped(kPipelineRequests, Wrapped(kExecute, execute));
  count_++;
  return *this;
}

HranaRequest& HranaRequest::Batch(const Statement* begin, const Statement* end) {
  std::string steps;
  std::optional<uint32_t> before;
  for (const Statement* statement = begin; statement != end; statement++) {
    ProtobufWriter step;
    step.Bytes(kStepCondition, ConditionBehind(before));
    step.Bytes(kStepStmt, Encoded(*statement));
    steps += Wrapped(kOnly, step.message());
    before = before ? *before + 1 : 0;
  }
  requests_ += Wrapped(kPipelineRequests, Wrapped(kBatch, Wrapped(kOnly, steps)));
  count_++;
  return *this;
}

HranaRequest& HranaRequest::Close() {
  requests_ += Wrapped(kPipelineRequests, Wrapped(kClose, ""));
  count_++;
  return *this;
}

std::string HranaRequest::Body(const std::string& baton) const {
  return (baton.empty() ? "" : Wrapped(kPipelineBaton, baton)) + requests_;
}

Result<HranaAnswer> ParseHranaAnswer(ByteView body, size_t asked) {
  HranaAnswer answer;
  TURSO_RETURN_IF_ERROR(ForEachField(body, [&](const ProtobufField& field) {
    if (IsBytes(field, kPipelineBaton)) answer.stream.baton = field.text();
    if (IsBytes(field, kPipelineBaseUrl)) answer.stream.base_url = field.text();
    if (!IsBytes(field, kPipelineResults)) return OkStatus();
    // Before more of them are kept.
    if (answer.results.size() == asked) return Status(Code::kCorrupt, "more results than requests");
    return ReadResult(field.bytes, &answer.results.emplace_back());
  }));
  if (answer.results.size() != asked) {
    return Status(Code::kCorrupt, std::to_string(answer.results.size()) + " results of " +
                                      std::to_string(asked) + " requests");
  }
  return answer;
}

}  // namespace turso
