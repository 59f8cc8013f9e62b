#include "tests/bench/counting_proxy.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>

#include "tests/bench/bench.h"

namespace turso::bench {

namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void SendAtOnce(int socket) {
  int one = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

bool SendAll(int socket, const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    ssize_t n = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

// Finds the request heads in the bytes of one connection; bodies have a Content-Length.
class CountingProxy::RequestCounter {
 public:
  explicit RequestCounter(CountingProxy* proxy) : proxy_(proxy) {}

  void Add(const char* bytes, size_t count) {
    while (count > 0) {
      if (body_left_ > 0) {
        size_t n = std::min(count, body_left_);
        body_left_ -= n;
        bytes += n;
        count -= n;
        continue;
      }
      head_ += *bytes++;
      --count;
      if (head_.ends_with("\r\n\r\n")) EndHead();
    }
  }

 private:
  void EndHead() {
    size_t path = head_.find(' ') + 1;
    std::string target = head_.substr(path, head_.find(' ', path) - path);
    std::string call = target.substr(target.rfind('/') + 1);
    for (size_t line = 0; line != std::string::npos; line = head_.find("\r\n", line + 1)) {
      constexpr char kLength[] = "\r\ncontent-length:";
      if (strncasecmp(head_.c_str() + line, kLength, sizeof kLength - 1) == 0) {
        body_left_ = std::strtoull(head_.c_str() + line + sizeof kLength - 1, nullptr, 10);
      }
    }
    head_.clear();
    std::lock_guard lock(proxy_->mutex_);
    ++proxy_->counts_[call];
  }

  CountingProxy* const proxy_;
  std::string head_;
  size_t body_left_ = 0;
};

CountingProxy::CountingProxy(int primary_port) : primary_port_(primary_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    Fail("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

CountingProxy::~CountingProxy() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    std::lock_guard lock(mutex_);
    for (int socket : sockets_) shutdown(socket, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
  for (int socket : sockets_) close(socket);
  close(listener_);
}

std::map<std::string, int> CountingProxy::Counts() {
  std::lock_guard lock(mutex_);
  return counts_;
}

void CountingProxy::Accept() {
  for (int client; (client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(primary_port_);
    if (connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      close(server);
      close(client);
      continue;
    }
    SendAtOnce(client);
    SendAtOnce(server);
    std::lock_guard lock(mutex_);
    sockets_.insert(sockets_.end(), {client, server});
    threads_.emplace_back([this, client, server] {
      RequestCounter counter(this);
      Run(client, server, &counter);
    });
    threads_.emplace_back([this, client, server] { Run(server, client, nullptr); });
  }
}

void CountingProxy::Run(int from, int to, RequestCounter* counter) {
  struct Parcel {
    double due;
    std::string bytes;  // Empty: the end.
  };
  std::mutex mutex;
  std::condition_variable arrived;
  std::deque<Parcel> parcels;
  std::thread writer([&] {
    for (;;) {
      std::unique_lock lock(mutex);
      arrived.wait(lock, [&] { return !parcels.empty(); });
      Parcel parcel = std::move(parcels.front());
      parcels.pop_front();
      lock.unlock();
      if (double left = parcel.due - Seconds(); left > 0) {
        std::this_thread::sleep_for(std::chrono::duration<double>(left));
      }
      if (parcel.bytes.empty() || !SendAll(to, parcel.bytes)) break;
    }
    shutdown(to, SHUT_WR);
  });
  std::string buffer(1 << 16, 0);
  ssize_t n;
  do {
    n = recv(from, buffer.data(), buffer.size(), 0);
    size_t count = n > 0 ? static_cast<size_t>(n) : 0;
    if (counter != nullptr) counter->Add(buffer.data(), count);
    std::lock_guard lock(mutex);
    parcels.push_back({Seconds() + delay_ / 2, buffer.substr(0, count)});
    arrived.notify_one();
  } while (n > 0);
  writer.join();
}

}  // namespace turso::bench
