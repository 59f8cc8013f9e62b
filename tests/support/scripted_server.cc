#include "tests/support/scripted_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace turso {

namespace {

int Listen(int* port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 64) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    std::perror("listening on 127.0.0.1");
    std::abort();
  }
  *port = ntohs(address.sin_port);
  return listener;
}

}  // namespace

int UnusedPort() {
  int port = 0;
  close(Listen(&port));
  return port;
}

ScriptedServer::ScriptedServer(Script script) : script_(std::move(script)) {
  listener_ = Listen(&port_);
  if (pipe2(stop_pipe_, O_CLOEXEC) != 0) std::abort();
  accepting_ = std::thread([this] { Accept(); });
}

ScriptedServer::~ScriptedServer() {
  Stop();
  close(stop_pipe_[0]);
}

void ScriptedServer::Stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  changed_.notify_all();
  close(stop_pipe_[1]);  // Wakes every poll, now and later.
  accepting_.join();
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

void ScriptedServer::Accept() {
  for (int index = 0;; index++) {
    pollfd ready[2] = {{listener_, POLLIN, 0}, {stop_pipe_[0], POLLIN, 0}};
    poll(ready, 2, -1);
    if (ready[1].revents) return;
    int socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::lock_guard lock(mutex_);
    Connection& connection = connections_.emplace_back();
    connection.server_ = this;
    connection.index_ = index;
    connection.socket_ = socket;
    threads_.emplace_back([this, &connection] { Serve(&connection); });
  }
}

void ScriptedServer::Serve(Connection* connection) {
  script_(*connection);
  if (connection->socket_ >= 0) close(connection->socket_);
}

int ScriptedServer::connections() const {
  std::lock_guard lock(mutex_);
  return static_cast<int>(connections_.size());
}

std::vector<ScriptedRequest> ScriptedServer::requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

bool ScriptedServer::WaitForRequests(size_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, seconds(10), [&] { return requests_.size() >= count; });
}

bool ScriptedServer::WaitForCloses(int count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, seconds(10), [&] { return closes_ >= count; });
}

namespace {

// Appends what comes. False at the end of the stream, an error, or when `stop` becomes readable.
bool Receive(int socket, int stop, std::string* buffer) {
  pollfd ready[2] = {{socket, POLLIN, 0}, {stop, POLLIN, 0}};
  if (poll(ready, 2, -1) < 0 || ready[1].revents) return false;
  char bytes[65536];
  ssize_t length = recv(socket, bytes, sizeof bytes, 0);
  if (length <= 0) return false;
  buffer->append(bytes, static_cast<size_t>(length));
  return true;
}

}  // namespace

bool ScriptedServer::Connection::ReadHead() {
  while (buffer_.find("\r\n\r\n") == std::string::npos) {
    if (!Receive(socket_, server_->stop_pipe_[0], &buffer_)) return false;
  }
  return true;
}

std::optional<ScriptedRequest> ScriptedServer::Connection::Read() {
  if (!ReadHead()) return std::nullopt;
  ScriptedRequest request;
  size_t head_end = buffer_.find("\r\n\r\n") + 4;
  size_t line_begin = 0;
  for (bool is_first = true; line_begin < head_end - 2; is_first = false) {
    size_t line_end = buffer_.find("\r\n", line_begin);
    std::string line = buffer_.substr(line_begin, line_end - line_begin);
    line_begin = line_end + 2;
    if (is_first) {
      size_t blank = line.find(' ');
      request.method = line.substr(0, blank);
      request.path = line.substr(blank + 1, line.rfind(' ') - blank - 1);
      continue;
    }
    std::string name = line.substr(0, line.find(':'));
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    size_t value = line.find_first_not_of(' ', name.size() + 1);
    request.headers[name] = value == std::string::npos ? "" : line.substr(value);
  }
  size_t length = std::strtoul(request.headers["content-length"].c_str(), nullptr, 10);
  while (buffer_.size() < head_end + length) {
    if (!Receive(socket_, server_->stop_pipe_[0], &buffer_)) return std::nullopt;
  }
  request.body = buffer_.substr(head_end, length);
  request.bytes = head_end + length;
  buffer_.erase(0, head_end + length);
  {
    std::lock_guard lock(server_->mutex_);
    server_->requests_.push_back(request);
  }
  server_->changed_.notify_all();
  return request;
}

void ScriptedServer::Connection::Send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    pollfd ready[2] = {{socket_, POLLOUT, 0}, {server_->stop_pipe_[0], POLLIN, 0}};
    if (poll(ready, 2, -1) < 0 || ready[1].revents) return;
    ssize_t length =
        send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (length < 0) return;
    sent += static_cast<size_t>(length);
  }
}

void ScriptedServer::Connection::Answer(const std::string& body, const std::string& content_type,
                                        int status, const std::string& more_headers) {
  Send("HTTP/1.1 " + std::to_string(status) + " Scripted\r\nContent-Type: " + content_type +
       "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more_headers + "\r\n" +
       body);
}

void ScriptedServer::Connection::Reset() {
  linger none{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close(socket_);
  socket_ = -1;
}

bool ScriptedServer::Connection::WaitForClose() {
  while (Receive(socket_, server_->stop_pipe_[0], &buffer_)) {
  }
  std::lock_guard lock(server_->mutex_);
  if (server_->stopping_) return false;
  server_->closes_++;
  server_->changed_.notify_all();
  return true;
}

bool ScriptedServer::Connection::IsOver() const {
  pollfd ready[2] = {{socket_, POLLRDHUP, 0}, {server_->stop_pipe_[0], POLLIN, 0}};
  return poll(ready, 2, 0) > 0;
}

void ScriptedServer::Connection::Stall() {
  pollfd stop = {server_->stop_pipe_[0], POLLIN, 0};
  poll(&stop, 1, -1);
}

void ScriptedServer::Connection::Pause(Duration duration) {
  pollfd stop = {server_->stop_pipe_[0], POLLIN, 0};
  poll(&stop, 1, static_cast<int>(duration.count() / 1000000));
}

}  // namespace turso
