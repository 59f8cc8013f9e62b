#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/remote/remote.h"
#include "tests/support/fake_primary_server.h"

namespace turso {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Status Opened(const std::string& url, const std::string& protocol = "auto") {
  return OpenRemote({url, "", "", protocol}).status();
}

TEST(OpenRemote, TakesTheUrlsOfThePage) {
  for (const char* url :
       {"http://127.0.0.1:8080/app", "http://127.0.0.1:8080", "http://127.0.0.1:8080/",
        "https://example.com", "libsql://db-me.turso.io", "libsql://db-me.turso.io?authToken=abc",
        "http://[::1]:8080/app", "HTTP://Example.com/a/b/", "http://host/app&authToken=abc",
        "http://host/a%20b"}) {
    Status status = Opened(url);
    EXPECT_TRUE(status.ok()) << url << ": " << status.text();
  }
}

TEST(OpenRemote, RefusesOtherUrlsAndNamesThemWithoutSecrets) {
  for (const char* url : {"",
                          "app.db",
                          "127.0.0.1:8080/app",
                          "ftp://host/app",
                          "http://",
                          "http:///app",
                          "http://host:0/app",
                          "http://host:65536",
                          "http://host:x",
                          "http://host:",
                          "http://[::1/app",
                          "http://[::1]8080",
                          "http://user:s3cret@host/app",
                          "http://host/app?token=s3cret",
                          "http://host/app?authToken=s3cret%2",
                          "http://host/app?authToken=s3cret%zz",
                          "http://host/app#s3cret",
                          "http://host/../etc",
                          "http://host/a//b",
                          "http://ho st/app",
                          "http://host/a b",
                          "http://host/app?authToken=x&s=s3cret",
                          "http://host/\xff"}) {
    Status status = Opened(url);
    EXPECT_EQ(status.code(), Code::kInvalid) << url;
    EXPECT_THAT(status.text(), Not(HasSubstr("s3cret")));
    std::string shown(url);
    shown = shown.substr(0, shown.find_first_of("?#"));
    if (shown.find('@') == std::string::npos) {
      EXPECT_THAT(status.text(), HasSubstr(shown));
    }
  }
}

TEST(OpenRemote, KnowsWhichProtocolsThisVersionSpeaks) {
  EXPECT_TRUE(Opened("http://host/app", "primary").ok());
  for (const char* later : {"libsql-sync", "pull-updates"}) {
    Status status = Opened("http://host/app", later);
    EXPECT_EQ(status.code(), Code::kInvalid);
    EXPECT_THAT(status.text(), HasSubstr("not in this version"));
    EXPECT_THAT(status.text(), HasSubstr(later));
  }
  Status status = Opened("http://host/app", "gopher");
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.text(), HasSubstr("gopher"));
}

struct Asked {
  std::string path, authorization;
};
Asked WhatIsAsked(const std::string& suffix, const Endpoint& rest) {
  FakePrimaryServer server(std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase()));
  Endpoint endpoint = rest;
  endpoint.url = server.server().url() + suffix;
  Result<std::unique_ptr<Remote>> remote = OpenRemote(endpoint);
  EXPECT_TRUE(remote.ok()) << remote.status().text();
  Result<Identity> identity = (*remote)->Identify({});
  EXPECT_TRUE(identity.ok()) << identity.status().text();
  ScriptedRequest request = server.server().requests().at(0);
  return {request.path, request.headers["authorization"]};
}

TEST(OpenRemote, AsksForTheDatabaseThatTheUrlNames) {
  EXPECT_EQ(WhatIsAsked("/app", {}).path, "/app/_turso/v1/identify");
  EXPECT_EQ(WhatIsAsked("/app/", {}).path, "/app/_turso/v1/identify");
  EXPECT_EQ(WhatIsAsked("/a/b", {}).path, "/a/b/_turso/v1/identify");
  EXPECT_EQ(WhatIsAsked("", {}).path, "/main/_turso/v1/identify");
  EXPECT_EQ(WhatIsAsked("/", {}).path, "/main/_turso/v1/identify");
  EXPECT_EQ(WhatIsAsked("/app?authToken=x", {}).path, "/app/_turso/v1/identify");
  EXPECT_EQ(WhatIsAsked("?authToken=x", {}).path, "/main/_turso/v1/identify");
}

TEST(OpenRemote, SendsTheTokenItIsGivenOrTheOneInTheUrl) {
  EXPECT_EQ(WhatIsAsked("/app", {}).authorization, "");
  EXPECT_EQ(WhatIsAsked("/app?authToken=a%2Bb", {}).authorization, "Bearer a+b");
  EXPECT_EQ(WhatIsAsked("/app&authToken=ab", {}).authorization, "Bearer ab");
  EXPECT_EQ(WhatIsAsked("/app", {"", "t", "", "auto"}).authorization, "Bearer t");
  EXPECT_EQ(WhatIsAsked("/app?authToken=u", {"", "t", "", "auto"}).authorization, "Bearer t");
}

}  // namespace
}  // namespace turso
