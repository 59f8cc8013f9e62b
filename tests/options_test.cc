#include "src/replica/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace turso {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

using Given = std::map<std::string, std::string>;

Result<Options> Resolve(const Given& uri, const Given& environment = {},
                        const std::string& sidecar_url = "") {
  auto lookup = [](const Given& given) {
    return [&given](const char* name) -> const char* {
      auto it = given.find(name);
      return it == given.end() ? nullptr : it->second.c_str();
    };
  };
  return ResolveOptions(lookup(uri), sidecar_url, lookup(environment));
}

Options Resolved(const Given& uri, const Given& environment = {},
                 const std::string& sidecar_url = "") {
  Result<Options> options = Resolve(uri, environment, sidecar_url);
  EXPECT_TRUE(options.ok()) << options.status().text();
  return options.ok() ? *options : Options();
}

TEST(Options, HaveTheirDefaultsWhenNobodySaysAnything) {
  Options options = Resolved({});
  EXPECT_EQ(options.url, "");
  EXPECT_EQ(options.token, "");
  EXPECT_EQ(options.token_file, "");
  EXPECT_EQ(options.protocol, "auto");
  EXPECT_EQ(options.sync, SyncMode::kFollow);
  EXPECT_EQ(options.sync_interval, seconds(1));
  EXPECT_FALSE(options.max_staleness.has_value());
  EXPECT_EQ(options.on_stale, OnStale::kWait);
  EXPECT_EQ(options.timeout, seconds(10));
}

TEST(Options, AskNobodyWhenThereAreNoLookups) {
  Result<Options> options = ResolveOptions(nullptr, "http://s/db", nullptr);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->url, "http://s/db");
}

TEST(Options, TakeTheUrlFromTheUriThenTheSidecarThenTheEnvironment) {
  const Given uri = {{"url", "http://u/db"}};
  const Given environment = {{"TURSO_DATABASE_URL", "http://e/db"}};
  EXPECT_EQ(Resolved(uri, environment, "http://s/db").url, "http://u/db");
  EXPECT_EQ(Resolved(uri, environment, "http://s/db").sidecar_url, "http://s/db");
  EXPECT_EQ(Resolved({}, environment, "http://s/db").url, "http://s/db");
  EXPECT_EQ(Resolved({}, environment).url, "http://e/db");
  EXPECT_EQ(Resolved({}, environment).sidecar_url, "");
}

TEST(Options, TakeEveryOtherOneFromTheUriBeforeTheEnvironment) {
  const Given environment = {
      {"TURSO_AUTH_TOKEN", "te"},         {"TURSO_VFS_PROTOCOL", "libsql"},
      {"TURSO_VFS_SYNC_INTERVAL", "off"}, {"TURSO_VFS_MAX_STALENESS", "3"},
      {"TURSO_VFS_ON_STALE", "serve"},    {"TURSO_VFS_HYDRATE", "full"},
      {"TURSO_VFS_TIMEOUT", "3s"},
  };
  Options options = Resolved({}, environment);
  EXPECT_EQ(options.token, "te");
  EXPECT_EQ(options.protocol, "libsql");
  EXPECT_EQ(options.sync, SyncMode::kOff);
  EXPECT_EQ(options.max_staleness, std::optional<Duration>(seconds(3)));
  EXPECT_EQ(options.on_stale, OnStale::kServe);
  EXPECT_EQ(options.timeout, seconds(3));

  options = Resolved({{"token", "tu"},
                      {"protocol", "primary"},
                      {"sync_interval", "250ms"},
                      {"max_staleness", "0"},
                      {"on_stale", "error"},
                      {"timeout", "1m"}},
                     environment);
  EXPECT_EQ(options.token, "tu");
  EXPECT_EQ(options.protocol, "primary");
  EXPECT_EQ(options.sync, SyncMode::kInterval);
  EXPECT_EQ(options.sync_interval, milliseconds(250));
  EXPECT_EQ(options.max_staleness, std::optional<Duration>(Duration(0)));
  EXPECT_EQ(options.on_stale, OnStale::kError);
  EXPECT_EQ(options.timeout, seconds(60));

  options = Resolved({{"sync_interval", "follow"}, {"max_staleness", "none"}, {"on_stale", "wait"}},
                     environment);
  EXPECT_EQ(options.sync, SyncMode::kFollow);
  EXPECT_FALSE(options.max_staleness.has_value());
  EXPECT_EQ(options.on_stale, OnStale::kWait);
}

TEST(Options, TreatAnEmptyVariableAsUnset) {
  EXPECT_EQ(Resolved({}, {{"TURSO_VFS_TIMEOUT", ""}, {"TURSO_DATABASE_URL", ""}}).timeout,
            seconds(10));
}

TEST(Options, NameTheParameterOrTheVariableOfABadValue) {
  struct Case {
    const char *parameter, *variable, *value;
  };
  const Case cases[] = {
      {"url", "TURSO_DATABASE_URL", "ftp://h/db"},
      {"url", "TURSO_DATABASE_URL", "app.db"},
      {"url", "TURSO_DATABASE_URL", "http:///db"},
      {"url", "TURSO_DATABASE_URL", "http://h/a b"},
      {"token", "TURSO_AUTH_TOKEN", "two words"},
      {"token", "TURSO_AUTH_TOKEN", "line\r\nInjected: yes"},
      {"protocol", "TURSO_VFS_PROTOCOL", "Primary"},
      {"sync_interval", "TURSO_VFS_SYNC_INTERVAL", "often"},
      {"sync_interval", "TURSO_VFS_SYNC_INTERVAL", "0"},
      {"max_staleness", "TURSO_VFS_MAX_STALENESS", "-1"},
      {"on_stale", "TURSO_VFS_ON_STALE", "retry"},
      {"hydrate", "TURSO_VFS_HYDRATE", "some"},
      {"hydrate", "TURSO_VFS_HYDRATE", "lazy"},
      {"hydrate", "TURSO_VFS_HYDRATE", "never"},
      {"timeout", "TURSO_VFS_TIMEOUT", "10 s"},
      {"timeout", "TURSO_VFS_TIMEOUT", "0"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.parameter) + "=" + c.value);
    Result<Options> options = Resolve({{c.parameter, c.value}});
    ASSERT_FALSE(options.ok());
    EXPECT_EQ(options.status().code(), Code::kInvalid);
    EXPECT_THAT(options.status().text(), HasSubstr(std::string("parameter ") + c.parameter));

    options = Resolve({}, {{c.variable, c.value}});
    ASSERT_FALSE(options.ok());
    EXPECT_EQ(options.status().code(), Code::kInvalid);
    EXPECT_THAT(options.status().text(),
                HasSubstr(std::string("environment variable ") + c.variable));
  }
}

TEST(Options, RefuseAParameterThatIsGivenButEmpty) {
  for (const char* parameter :
       {"url", "protocol", "sync_interval", "max_staleness", "on_stale", "hydrate", "timeout"}) {
    Result<Options> options = Resolve({{parameter, ""}});
    ASSERT_FALSE(options.ok()) << parameter;
    EXPECT_THAT(options.status().text(), HasSubstr(std::string("parameter ") + parameter));
  }
}

TEST(Options, SayWhatIsAllowed) {
  EXPECT_THAT(Resolve({{"on_stale", "x"}}).status().text(),
              AllOf(HasSubstr("wait"), HasSubstr("error"), HasSubstr("serve")));
  EXPECT_THAT(Resolve({{"hydrate", "lazy"}}).status().text(), HasSubstr("this version"));
  EXPECT_THAT(Resolve({{"protocol", "x"}}).status().text(), HasSubstr("pull-updates"));
}

TEST(Options, NeverRepeatATokenInAnError) {
  EXPECT_THAT(Resolve({{"token", "se cret"}}).status().text(), Not(HasSubstr("cret")));
  EXPECT_THAT(Resolve({{"url", "ftp://h/?authToken=secret"}}).status().text(),
              Not(HasSubstr("secret")));
  EXPECT_THAT(Resolve({{"url", "ftp://me:secret@h/"}}).status().text(), Not(HasSubstr("secret")));
}

TEST(Options, NeverMixCredentialsOfTheUriWithThoseOfTheEnvironment) {
  const Given environment = {{"TURSO_AUTH_TOKEN", "te"}, {"TURSO_AUTH_TOKEN_FILE", "/fe"}};
  Options options = Resolved({{"token", "tu"}}, environment);
  EXPECT_EQ(options.token, "tu");
  EXPECT_EQ(options.token_file, "");
  options = Resolved({{"token_file", "/fu"}}, environment);
  EXPECT_EQ(options.token, "");
  EXPECT_EQ(options.token_file, "/fu");
  options = Resolved({{"url", "http://u/db?authToken=in-url"}}, environment);
  EXPECT_EQ(options.token, "in-url");
  EXPECT_EQ(options.token_file, "");
  options = Resolved({{"token", ""}}, environment);
  EXPECT_EQ(options.token, "");
  EXPECT_EQ(options.token_file, "");
  options = Resolved({}, environment);
  EXPECT_EQ(options.token, "te");
  EXPECT_EQ(options.token_file, "/fe");
}

TEST(Options, TakeTheTokenOutOfTheUrl) {
  Options options = Resolved({{"url", "libsql://h.example/db?authToken=abc"}});
  EXPECT_EQ(options.url, "libsql://h.example/db");
  EXPECT_EQ(options.token, "abc");
  EXPECT_EQ(Resolved({{"url", "http://h/?authToken=abc"}, {"token", "said"}}).token, "said");
}

TEST(Options, SendTheTokenOfTheEnvironmentsUrlToThatUrlOnly) {
  const Given environment = {{"TURSO_DATABASE_URL", "http://e/db?authToken=abc"}};
  EXPECT_EQ(Resolved({}, environment).token, "abc");
  EXPECT_EQ(Resolved({}, environment, "http://e/db").token, "abc");
  EXPECT_EQ(Resolved({}, environment, "http://other/db").token, "");
  EXPECT_EQ(Resolved({{"url", "http://other/db"}}, environment).token, "");
}

TEST(Options, IgnoreABadUrlInTheEnvironmentWhenAnotherOneCounts) {
  EXPECT_EQ(Resolved({}, {{"TURSO_DATABASE_URL", "nonsense"}}, "http://s/db").url, "http://s/db");
}

TEST(Options, RefuseAUrlLongerThanASidecarHolds) {
  const std::string start = "http://h/";
  EXPECT_TRUE(Resolve({{"url", start + std::string(1024 - start.size(), 'a')}}).ok());
  EXPECT_FALSE(Resolve({{"url", start + std::string(1025 - start.size(), 'a')}}).ok());
}

TEST(Durations, AreNumbersWithAUnit) {
  const std::pair<const char*, int64_t> good[] = {
      {"500ms", 500'000'000},
      {"5s", 5'000'000'000},
      {"2m", 120'000'000'000},
      {"7", 7'000'000'000},
      {"0", 0},
      {"0.5", 500'000'000},
      {"1.25m", 75'000'000'000},
      {"0.001ms", 1'000},
      {"1.000000001", 1'000'000'001},
      {"0.0000000009", 0},
      {"007s", 7'000'000'000},
      {"31536000", 31'536'000'000'000'000},
      {"525600m", 31'536'000'000'000'000},
  };
  for (auto [text, nanoseconds] : good) {
    auto duration = ParseDuration(text);
    ASSERT_TRUE(duration.has_value()) << text;
    EXPECT_EQ(duration->count(), nanoseconds) << text;
  }
}

TEST(Durations, AreNothingElse) {
  for (const char* text : {"",
                           "s",
                           "ms",
                           "-1",
                           "+1",
                           " 1",
                           "1 ",
                           "1 s",
                           "1h",
                           "1d",
                           "1S",
                           "1sec",
                           "1e3",
                           "0x10",
                           "inf",
                           "nan",
                           ".5",
                           "5.",
                           "1.s",
                           "1.5.5",
                           "1,5",
                           "31536000.1",
                           "31536001",
                           "525601m",
                           "99999999999999999999",
                           "9223372036854775808",
                           "18446744073709551617ms",
                           "1mss"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
  EXPECT_FALSE(ParseDuration(std::string("1\0s", 3)).has_value());
}

TEST(StripToken, LeavesAUrlWithoutCredentialsAsItIs) {
  for (const char* url : {"http://h", "http://h:80/", "https://h/db?x=1&y=2#z",
                          "http://[::1]:8080/db", "http://h/a@b?c@d#e@f", "http://h/db&x=1",
                          "http://h/?", "http://h/?authTokens=1", "", "app.db", "a?b"}) {
    std::string token = "left over";
    EXPECT_EQ(StripToken(url, &token), url);
    EXPECT_EQ(token, "");
  }
}

TEST(StripToken, TakesTheTokenFromAnyPlaceInTheQuery) {
  const struct {
    const char *url, *stripped, *token;
  } cases[] = {
      {"http://h/db?authToken=t", "http://h/db", "t"},
      {"http://h?authToken=t", "http://h", "t"},
      {"http://h/db?authToken=t&x=1", "http://h/db?x=1", "t"},
      {"http://h/db?x=1&authToken=t", "http://h/db?x=1", "t"},
      {"http://h/db?x=1&authToken=t&y=2#f", "http://h/db?x=1&y=2#f", "t"},
      {"http://h/db?authToken=t&authToken=u", "http://h/db", "u"},
      {"http://h/db?authToken=", "http://h/db", ""},
      {"http://h/db?authToken", "http://h/db", ""},
      {"http://h/db?authToken=a%2Bb%3d%3D", "http://h/db", "a+b=="},
      {"http://h/db?authToken=a=b%", "http://h/db", "a=b%"},
      {"http://h/db?authToken=%zz%4", "http://h/db", "%zz%4"},
      {"http://h/db?auth%54oken=t", "http://h/db", "t"},
      {"http://h/db?AUTHTOKEN=t", "http://h/db", "t"},
      {"http://h/db&authToken=t", "http://h/db", "t"},
      {"http://h&authToken=t", "http://h", "t"},
      {"http://h:80&&authToken=t", "http://h:80&", "t"},
      {"http://h/db&x=1&authToken=t&y=2", "http://h/db&x=1&y=2", "t"},
      {"http://h/db?x=a%26b&authToken=t", "http://h/db?x=a%26b", "t"},
  };
  for (const auto& c : cases) {
    std::string token;
    EXPECT_EQ(StripToken(c.url, &token), c.stripped) << c.url;
    EXPECT_EQ(token, c.token) << c.url;
  }
}

TEST(StripToken, TakesUserAndPasswordOutOfTheAuthority) {
  std::string token;
  EXPECT_EQ(StripToken("http://me:pass@h:80/db", &token), "http://h:80/db");
  EXPECT_EQ(StripToken("http://me@h?x=1", &token), "http://h?x=1");
  EXPECT_EQ(StripToken("http://a@b:c@h/", &token), "http://h/");
  EXPECT_EQ(StripToken("http://me:p&ss@h/db", &token), "http://h/db");
  EXPECT_EQ(token, "");
  EXPECT_EQ(StripToken("http://me:pass@h/?authToken=t", &token), "http://h/");
  EXPECT_EQ(token, "t");
}

}  // namespace
}  // namespace turso
