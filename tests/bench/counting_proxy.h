// Stands between a replica and its primary on 127.0.0.1: counts the exchanges and delays them.

#ifndef TURSO_TESTS_BENCH_COUNTING_PROXY_H_
#define TURSO_TESTS_BENCH_COUNTING_PROXY_H_

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace turso::bench {

class CountingProxy {
 public:
  explicit CountingProxy(int primary_port);
  ~CountingProxy();
  CountingProxy(const CountingProxy&) = delete;
  CountingProxy& operator=(const CountingProxy&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // Half of it on the way there, half on the way back; bytes that follow one another are not slowed
  // down beyond that.
  void set_delay(double seconds) { delay_ = seconds; }
  // Requests so far, by the last part of their path ("commit", "lease", ...).
  std::map<std::string, int> Counts();

 private:
  class RequestCounter;

  void Accept();
  // Carries the bytes of one direction of one connection.
  void Run(int from, int to, RequestCounter* counter);

  const int primary_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<double> delay_{0};
  std::mutex mutex_;
  std::map<std::string, int> counts_;
  std::vector<std::thread> threads_;
  std::vector<int> sockets_;
  std::thread acceptor_;
};

}  // namespace turso::bench

#endif  // TURSO_TESTS_BENCH_COUNTING_PROXY_H_
