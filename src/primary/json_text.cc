#include "src/primary/json_text.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace turso {

namespace {
using Json = nlohmann::json;
}  // namespace

bool AppendJsonText(std::string* out, std::string_view text) {
  // The library reports text that is not UTF-8 by throwing; this is the one place where it may.
  try {
    *out += Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

std::string JsonText(std::string_view text) {
  return Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

void AppendJsonNumber(std::string* out, double value) {
  if (std::isinf(value)) {
    *out += value > 0 ? "1e999" : "-1e999";
  } else {
    *out += Json(value).dump();
  }
}

}  // namespace turso
