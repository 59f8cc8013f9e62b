// What answers of a libSQL server become that it would not give: src/remote/hrana_message.h

#include "src/remote/hrana_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/remote/protobuf.h"

namespace turso {
namespace {

using ::testing::HasSubstr;

std::string Field(uint32_t number, std::string_view message) {
  return ProtobufWriter().Bytes(number, message).Take();
}

// A result that is an error.
std::string Failure(std::string_view message, std::string_view code) {
  return Field(3, Field(2, Field(1, message) + Field(2, code)));
}

TEST(HranaAnswer, HasErrorsThatCanBeShown) {
  const std::string body = Failure("\x1b]0;owned\x07 near \"\xff\"", "SQLITE_\x1b[2J");
  Result<HranaAnswer> answer = ParseHranaAnswer(AsBytes(body), 1);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  ASSERT_TRUE(answer->results[0].error.has_value());
  EXPECT_EQ(answer->results[0].error->message, "?]0;owned? near \"?\"");
  EXPECT_EQ(answer->results[0].error->code, "SQLITE_?[2J");
}

TEST(HranaAnswer, HasErrorsOfABoundedLength) {
  const std::string words(1 << 20, 'w');
  Result<HranaAnswer> answer = ParseHranaAnswer(AsBytes(Failure(words, words)), 1);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  EXPECT_LT(answer->results[0].error->message.size(), 600u);
  EXPECT_LT(answer->results[0].error->code.size(), 600u);
}

TEST(HranaAnswer, HasErrorsOfStepsThatCanBeShown) {
  const std::string error = Field(1, std::string("\x1b[31m") + std::string(9000, 'w'));
  const std::string entry = Field(2, Field(2, error));
  const std::string body = Field(3, Field(1, Field(3, Field(1, entry))));
  Result<HranaAnswer> answer = ParseHranaAnswer(AsBytes(body), 1);
  ASSERT_TRUE(answer.ok()) << answer.status().text();
  ASSERT_TRUE(answer->results[0].error.has_value());
  EXPECT_THAT(answer->results[0].error->message, HasSubstr("?[31mwww"));
  EXPECT_LT(answer->results[0].error->message.size(), 600u);
}

TEST(HranaAnswer, IsGivenUpWithMoreResultsThanRequests) {
  std::string body;
  for (int i = 0; i < 3; i++) body += Failure("no", "SQLITE_BUSY");
  EXPECT_TRUE(ParseHranaAnswer(AsBytes(body), 3).ok());
  EXPECT_EQ(ParseHranaAnswer(AsBytes(body), 2).status().code(), Code::kCorrupt);
  EXPECT_EQ(ParseHranaAnswer(AsBytes(body), 4).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace turso
