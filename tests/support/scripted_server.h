// A TCP server on a free port of 127.0.0.1 that behaves as badly as its script says.
//
// The script runs once for each connection, on a thread of its own, and the connection is closed
// when it returns. All threads have ended when the destructor returns: what blocks in a script is
// woken by Stop().

#ifndef TURSO_TESTS_SUPPORT_SCRIPTED_SERVER_H_
#define TURSO_TESTS_SUPPORT_SCRIPTED_SERVER_H_

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "src/base/clock.h"

namespace turso {

struct ScriptedRequest {
  std::string method;
  std::string path;
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;
  size_t bytes = 0;  // On the wire.
};

class ScriptedServer {
 public:
  class Connection {
   public:
    int index() const { return index_; }  // 0 for the first connection ever.
    // Nothing when the other side closed, or the server stops.
    std::optional<ScriptedRequest> Read();
    // The header of a request and no more.
    bool ReadHead();
    void Send(const std::string& bytes);
    // A 200 with `content_type`; further header lines end in \r\n.
    void Answer(const std::string& body, const std::string& content_type = "text/plain",
                int status = 200, const std::string& more_headers = "");
    // Closes with a RST.
    void Reset();
    // Until the other side closes; false if the server stops first.
    bool WaitForClose();
    // The other side closed, or the server stops.
    bool IsOver() const;
    // Until the server stops.
    void Stall();
    // Returns early if the server stops.
    void Pause(Duration duration);

   private:
    friend class ScriptedServer;
    ScriptedServer* server_ = nullptr;
    int index_ = 0;
    int socket_ = -1;
    std::string buffer_;
  };
  using Script = std::function<void(Connection&)>;

  explicit ScriptedServer(Script script);
  ~ScriptedServer();
  void Stop();

  int port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int connections() const;
  std::vector<ScriptedRequest> requests() const;
  // Until `count` requests were read in whole. False after 10 s.
  bool WaitForRequests(size_t count);
  // Until `count` connections saw the other side close. False after 10 s.
  bool WaitForCloses(int count);

 private:
  void Accept();
  void Serve(Connection* connection);

  Script script_;
  int listener_ = -1;
  int stop_pipe_[2] = {-1, -1};
  int port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  int closes_ = 0;
  std::vector<ScriptedRequest> requests_;
  std::list<Connection> connections_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

// A port of 127.0.0.1 on which nobody listens.
int UnusedPort();

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_SCRIPTED_SERVER_H_
