#include "src/changes/sql.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace turso {
namespace {

using ::testing::ElementsAre;

TEST(Sql, NamesAreQuotedSoThatTheyAreNothingElse) {
  EXPECT_EQ(QuoteName("a"), "\"a\"");
  EXPECT_EQ(QuoteName("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(QuoteName(""), "\"\"");
}

TEST(Sql, TokensLeaveOutBlanksAndComments) {
  std::vector<std::string> texts;
  for (const Token& token :
       Tokens("a /* x, */ \"b \"\"c\" -- d\n [e]]f `g` 'h''i', 1.5(j$\u00e4)/*"))
    texts.emplace_back(token.text);
  EXPECT_THAT(texts, ElementsAre("a", "\"b \"\"c\"", "[e]", "]", "f", "`g`", "'h''i'", ",", "1",
                                 ".", "5", "(", "j$\u00e4", ")"));
  EXPECT_TRUE(Tokens("").empty());
  EXPECT_EQ(Tokens("'open").size(), 1U);
}

TEST(Sql, KeywordsAreFoundOnlyWhereTheyAreWords) {
  EXPECT_TRUE(HasKeyword("CREATE TABLE t(a) wiThout rowid", "WITHOUT"));
  EXPECT_FALSE(
      HasKeyword("CREATE TABLE t(\"without\" DEFAULT 'without', withouts) --without", "WITHOUT"));
}

TEST(Sql, IsSplitAtCommasOutsideOfParentheses) {
  EXPECT_THAT(SplitAtCommas(" a INT , b CHECK(b IN (1,2)), c DEFAULT ',' "),
              ElementsAre("a INT", "b CHECK(b IN (1,2))", "c DEFAULT ','"));
  EXPECT_THAT(SplitAtCommas("a"), ElementsAre("a"));
}

TEST(Sql, TriggersSayWhatTheyFireFor) {
  EXPECT_EQ(EventOf("CREATE TRIGGER \"insert\" AFTER UPDATE OF x ON t BEGIN DELETE FROM u; END"),
            TriggerEvent::kUpdate);
  EXPECT_EQ(EventOf("CREATE TRIGGER a delete on t begin select 1; end"), TriggerEvent::kDelete);
  EXPECT_EQ(EventOf("CREATE TRIGGER a /* UPDATE */ INSTEAD OF INSERT ON v BEGIN SELECT 1; END"),
            TriggerEvent::kInsert);
  EXPECT_EQ(EventOf("CREATE TRIGGER a"), TriggerEvent::kUnknown);
}

}  // namespace
}  // namespace turso
