// A program may change its environment at any time, which is not safe beside a thread that reads
// it.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "src/http/http_client.h"
#include "tests/support/scripted_server.h"

namespace {

std::mutex& ReadMutex() {
  static std::mutex mutex;
  return mutex;
}
std::vector<std::string>& Read() {
  static std::vector<std::string> names;
  return names;
}

}  // namespace

// In front of the C library's, for libcurl too.
extern "C" __attribute__((visibility("default"))) char* getenv(const char* name) noexcept {
  static const auto real = reinterpret_cast<char* (*)(const char*)>(dlsym(RTLD_NEXT, "getenv"));
  {
    std::lock_guard lock(ReadMutex());
    Read().push_back(name);
  }
  return real(name);
}

namespace turso {
namespace {

TEST(HttpEnvironment, IsNotReadByARequestToThisMachine) {
  ScriptedServer server([](ScriptedServer::Connection& connection) {
    while (auto request = connection.Read()) connection.Answer(request->body);
  });
  HttpClient client;
  HttpRequest request;
  request.url = server.url() + "/db/call";
  request.content_type = "application/x-test";
  request.body = "hello";
  Patience patience;
  patience.timeout = seconds(10);
  ASSERT_NE(getenv("PATH"), nullptr);
  {
    std::lock_guard lock(ReadMutex());
    ASSERT_EQ(Read().back(), "PATH");
  }
  ASSERT_TRUE(client.Exchange(request, patience).status.ok());  // What is read once is read here.
  {
    std::lock_guard lock(ReadMutex());
    Read().clear();
  }
  ASSERT_TRUE(client.Exchange(request, patience).status.ok());
  std::lock_guard lock(ReadMutex());
  EXPECT_EQ(Read(), std::vector<std::string>());
}

}  // namespace
}  // namespace turso
