// A FakePrimary behind the `primary` protocol on a real socket, which can be made to misbehave.

#ifndef TURSO_TESTS_SUPPORT_FAKE_PRIMARY_SERVER_H_
#define TURSO_TESTS_SUPPORT_FAKE_PRIMARY_SERVER_H_

#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/fake_remote.h"
#include "tests/support/scripted_server.h"

namespace turso {

constexpr const char* kMessageType = "application/x-turso-vfs";

class FakePrimaryServer {
 public:
  // A part of a pull has at most `part_pages` pages. With a token, others are `denied`.
  explicit FakePrimaryServer(std::shared_ptr<FakePrimary> primary, size_t part_pages = 500,
                             std::string token = "");

  std::string url() const { return server_.url() + "/app"; }
  ScriptedServer& server() { return server_; }

  // Called with each request ("pull", "commit", ...) before it is served; true: it has been
  // answered.
  using Intercept = std::function<bool(ScriptedServer::Connection&, const std::string& call,
                                       const ScriptedRequest&)>;
  void set_intercept(Intercept intercept);
  // Changes heads on their way out.
  using Edit = std::function<void(const std::string& call, nlohmann::json* head)>;
  void set_edit(Edit edit);
  void set_token(std::string token);

  // The answer to `request`, acted upon. The HTTP status is in *status.
  std::string Serve(const std::string& call, const ScriptedRequest& request, int* status,
                    const Call& waits = {});

 private:
  void Run(ScriptedServer::Connection& connection);

  const std::shared_ptr<FakePrimary> primary_;
  const size_t part_pages_;
  std::mutex mutex_;
  std::string token_;
  Intercept intercept_;
  Edit edit_;
  ScriptedServer server_;  // The last: its threads use what is above.
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_FAKE_PRIMARY_SERVER_H_
