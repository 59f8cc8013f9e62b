#include "src/base/status.h"

namespace turso {

const char* CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "ok";
    case Code::kNotFound: return "not found";
    case Code::kBusy: return "busy";
    case Code::kUnavailable: return "unavailable";
    case Code::kConflict: return "conflict";
    case Code::kDenied: return "denied";
    case Code::kReadOnly: return "read-only";
    case Code::kCorrupt: return "corrupt";
    case Code::kIo: return "i/o error";
    case Code::kFull: return "full";
    case Code::kOutcomeUnknown: return "outcome unknown";
    case Code::kInvalid: return "invalid";
    case Code::kNoMemory: return "no memory";
    case Code::kInterrupted: return "interrupted";
  }
  return "?";
}

}  // namespace turso
