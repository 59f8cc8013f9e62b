// Requests of Hrana over HTTP, from JSON to values.
// https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md
//
// A body is read whole before anything of it runs: what does not parse is refused with nothing
// done. Fields that we do not know are ignored. Pure; any thread.

#ifndef TURSO_SRC_PRIMARY_HRANA_REQUEST_H_
#define TURSO_SRC_PRIMARY_HRANA_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "src/base/status.h"

namespace turso {

enum class HranaVersion { k2 = 2, k3 = 3 };

struct HranaBlob {
  std::string bytes;
};

// NULL, INTEGER, REAL, TEXT, BLOB.
using HranaValue = std::variant<std::monostate, int64_t, double, std::string, HranaBlob>;

// An SQL text: given here, or stored earlier on the stream under a number.
struct HranaSql {
  std::optional<std::string> text;
  std::optional<int32_t> id;
};

struct HranaStatement {
  HranaSql sql;
  std::vector<HranaValue> args;
  std::vector<std::pair<std::string, HranaValue>> named_args;
  bool want_rows = true;
};

struct HranaCondition {
  enum class Type { kOk, kError, kNot, kAnd, kOr, kIsAutocommit };
  Type type = Type::kOk;
  size_t step = 0;
  std::vector<HranaCondition> conditions;
};

struct HranaStep {
  std::optional<HranaCondition> condition;
  HranaStatement statement;
};

struct HranaRequest {
  enum class Type {
    kClose,
    kExecute,
    kBatch,
    kSequence,
    kDescribe,
    kStoreSql,
    kCloseSql,
    kGetAutocommit
  };
  Type type = Type::kClose;
  // execute: the statement; sequence, describe, store_sql, close_sql: its `sql` alone.
  HranaStatement statement;
  std::vector<HranaStep> steps;
};

struct HranaPipeline {
  std::optional<std::string> baton;
  std::vector<HranaRequest> requests;
};

// kInvalid, with what is wrong and where in the body.
Result<HranaPipeline> ParseHranaPipeline(std::string_view body, HranaVersion version);
// The body of a cursor request, as a pipeline of its one batch.
Result<HranaPipeline> ParseHranaCursor(std::string_view body);

// RFC 4648's standard alphabet, without padding.
std::string EncodeBase64(std::string_view bytes);
// With or without padding; nothing if `text` is not base64.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_HRANA_REQUEST_H_
