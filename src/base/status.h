// What can go wrong, named for what the caller does next.
//
// A Status is a code and a sentence. The sentence says what was being done and on which file or
// URL; each layer that passes a failure on may put its own words in front with Status::While().
// Nothing in src/ throws.

#ifndef TURSO_SRC_BASE_STATUS_H_
#define TURSO_SRC_BASE_STATUS_H_

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace turso {

enum class Code {
  kOk,
  kNotFound,     // It is not there: ask for something else, or create it.
  kBusy,         // Somebody else has it for the moment: ask again.
  kUnavailable,  // No usable answer, and the other side did not act: try later.
  kConflict,  // The base of this transaction is not the newest revision any more: start it afresh.
  kDenied,    // Wrong or missing credentials.
  kReadOnly,  // The credentials, or the kind of change, do not allow writing.
  kCorrupt,   // Bytes from outside do not parse or verify. Nothing was applied.
  kIo,        // A local file operation failed.
  kFull,      // No space, or over a limit.
  kOutcomeUnknown,  // A commit was sent and no answer came: settle before anything else.
  kInvalid,         // The request itself makes no sense: a wrong option, an impossible name.
  kNoMemory,
  kInterrupted,  // The application asked to stop waiting.
};

// "busy", "unavailable"...: for logs and for tests.
const char* CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string text) : code_(code), text_(std::move(text)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& text() const { return text_; }

  // The same failure, told from further out: "pulling from http://…: connection refused".
  Status While(const std::string& doing) const {
    return ok() ? *this : Status(code_, doing + ": " + text_);
  }

 private:
  Code code_ = Code::kOk;
  std::string text_;
};

inline Status OkStatus() { return Status(); }

// A value, or why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    assert(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  T& operator*() & { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  const T& operator*() const& { return *value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

#define TURSO_RETURN_IF_ERROR(expr)                                      \
  do {                                                                   \
    if (::turso::Status status_ = (expr); !status_.ok()) return status_; \
  } while (0)

}  // namespace turso

#endif  // TURSO_SRC_BASE_STATUS_H_
