// JSON, written piece by piece where a document would be built only to be printed.

#ifndef TURSO_SRC_PRIMARY_JSON_TEXT_H_
#define TURSO_SRC_PRIMARY_JSON_TEXT_H_

#include <string>
#include <string_view>

namespace turso {

// Appends `text` as a JSON string with its quotes. False, and nothing appended, if it is not UTF-8.
bool AppendJsonText(std::string* out, std::string_view text);
// The same, each wrong byte replaced by U+FFFD: for messages.
std::string JsonText(std::string_view text);
// Appends the shortest number that reads back as the same bits. JSON has no infinities: they come
// as 1e999, which the usual parsers read as one. SQLite has no NaN.
void AppendJsonNumber(std::string* out, double value);

}  // namespace turso

#endif  // TURSO_SRC_PRIMARY_JSON_TEXT_H_
