// The head of a message.

#include "src/wire/head.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace turso {
namespace {

Head Parsed(const std::string& text) {
  Result<Head> head = Head::Parse(AsBytes(text));
  EXPECT_TRUE(head.ok()) << text;
  return head.ok() ? *std::move(head) : Head();
}

TEST(Head, ReadsWhatItWrote) {
  const std::vector<PageNo> pages = {{7}, {1}, {4294967295}};
  HeadText text;
  text.Add("quoted \"name\"", "a \"b\" \\ \n \x01 \xc3\xa9")
      .Add("most", UINT64_MAX)
      .Add("none", uint64_t{0})
      .Add("pages", pages)
      .Add("no pages", std::span<const PageNo>());
  const Head head = Parsed(text.text());
  EXPECT_EQ(TextField(head, "quoted \"name\"").value(), "a \"b\" \\ \n \x01 \xc3\xa9");
  EXPECT_EQ(NumberField(head, "most").value(), UINT64_MAX);
  EXPECT_EQ(NumberField(head, "none").value(), 0u);
  EXPECT_EQ(NumbersField(head, "pages").value(), (Head::Numbers{7, 1, 4294967295}));
  EXPECT_TRUE(NumbersField(head, "no pages").value().empty());
  EXPECT_TRUE(TextsField(head, "no pages").value().empty());
  EXPECT_EQ(HeadText().text(), "{}");
}

TEST(Head, WritesWhatAnotherReaderOfJsonReads) {
  const std::vector<PageNo> pages = {{3}};
  const std::string text = HeadText().Add("a", "\xff").Add("b", 5u).Add("c", pages).text();
  EXPECT_EQ(nlohmann::json::parse(text).dump(), "{\"a\":\"\xef\xbf\xbd\",\"b\":5,\"c\":[3]}");
}

TEST(Head, FieldsOfAnotherTypeAreCorruptAndNamed) {
  const Head head = Parsed(
      R"({"t": "x", "n": 5, "b": true, "minus": -5, "real": 1.5, "null": null, "object": {"n": 1},
          "texts": ["x", "y"], "numbers": [1, 2], "mixed": [1, "x"], "mixed too": ["x", 1],
          "minus in it": [1, -1], "deep": [[1]], "deep too": [{"n": 1}, 1]})");
  EXPECT_EQ(TextField(head, "t").value(), "x");
  EXPECT_EQ(NumberField(head, "n").value(), 5u);
  EXPECT_TRUE(BoolField(head, "b").value());
  EXPECT_EQ(TextsField(head, "texts").value(), (Head::Texts{"x", "y"}));
  EXPECT_EQ(NumbersField(head, "numbers").value(), (Head::Numbers{1, 2}));
  for (const char* name : {"t", "b", "minus", "real", "null", "object", "numbers", "absent"}) {
    Result<uint64_t> number = NumberField(head, name);
    ASSERT_FALSE(number.ok()) << name;
    EXPECT_EQ(number.status().code(), Code::kCorrupt);
    EXPECT_NE(number.status().text().find(name), std::string::npos);
  }
  for (const char* name :
       {"mixed", "mixed too", "minus in it", "deep", "deep too", "n", "object"}) {
    EXPECT_EQ(TextsField(head, name).status().code(), Code::kCorrupt) << name;
    EXPECT_EQ(NumbersField(head, name).status().code(), Code::kCorrupt) << name;
    EXPECT_TRUE(head.Has(name));
  }
  EXPECT_EQ(TextField(head, "n").status().code(), Code::kCorrupt);
  EXPECT_EQ(BoolField(head, "n").status().code(), Code::kCorrupt);
  EXPECT_FALSE(head.Has("absent"));
}

TEST(Head, WhatIsNestedDoesNotShadowWhatIsNot) {
  const Head head = Parsed(R"({"n": 1, "o": {"n": 2, "t": "x"}, "l": [{"n": 3}]})");
  EXPECT_EQ(NumberField(head, "n").value(), 1u);
  EXPECT_FALSE(head.Has("t"));
}

TEST(Head, OfANameThatComesTwiceTheLaterCounts) {
  EXPECT_EQ(NumberField(Parsed(R"({"n": 1, "n": 2})"), "n").value(), 2u);
  EXPECT_EQ(NumberField(Parsed(R"({"n": [1, 2], "n": 3})"), "n").value(), 3u);
}

TEST(Head, WhatIsNotOneObjectIsCorrupt) {
  const std::string deep(100000, '[');
  for (const std::string& text :
       {std::string(), std::string("5"), std::string("[]"), std::string("null"), std::string("{"),
        std::string("{} {}"), std::string("{\"a\":}"), std::string("{\"a\":\"\xff\"}"),
        std::string("{\"a\":1e999}"), std::string("{\"a\":") + deep, deep}) {
    Result<Head> head = Head::Parse(AsBytes(text));
    ASSERT_FALSE(head.ok()) << text.substr(0, 50);
    EXPECT_EQ(head.status().code(), Code::kCorrupt);
  }
}

}  // namespace
}  // namespace turso
