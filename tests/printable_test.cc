#include "src/base/printable.h"

#include <gtest/gtest.h>

namespace turso {
namespace {

TEST(Printable, LeavesTextInAnyScript) {
  EXPECT_EQ(Printable(""), "");
  EXPECT_EQ(Printable("near \"x\": syntax error, été, 日本語, 😀"),
            "near \"x\": syntax error, été, 日本語, 😀");
}

TEST(Printable, ShowsWhatATerminalWouldObeyAsAQuestionMark) {
  EXPECT_EQ(Printable("a\x1b[31m\r\nb\x7f\tc"), "a?[31m??b??c");
  EXPECT_EQ(Printable(std::string_view("a\0b", 3)), "a?b");
  EXPECT_EQ(Printable("a\xc2\x9b"
                      "31m"),
            "a?31m");
}

TEST(Printable, IsUtf8WhateverTheBytesAre) {
  EXPECT_EQ(Printable("\xff\xfe"), "??");
  EXPECT_EQ(Printable("\xc3"), "?");                 // Ends within a character.
  EXPECT_EQ(Printable("\xc0\xaf"), "??");            // Longer than need be.
  EXPECT_EQ(Printable("\xe0\x80\xaf"), "???");       // So too.
  EXPECT_EQ(Printable("\xed\xa0\x80"), "???");       // Half of a pair of UTF-16.
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "????");  // Beyond the last.
  EXPECT_EQ(Printable("\xe2\x82x"), "??x");
}

TEST(Printable, EndsBetweenTwoCharacters) {
  const std::string long_text(500, 'x');
  EXPECT_EQ(Printable(long_text), long_text);
  EXPECT_EQ(Printable(long_text + "y"), long_text + "...");
  EXPECT_EQ(Printable(std::string(499, 'x') + "été"), std::string(499, 'x') + "...");
  EXPECT_EQ(Printable(std::string(1 << 20, '\n')).size(), 503u);
}

}  // namespace
}  // namespace turso
