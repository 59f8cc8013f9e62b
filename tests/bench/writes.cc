// What a write transaction costs in exchanges with the primary, counted by a proxy between the two.

#include <filesystem>
#include <thread>

#include "tests/bench/bench.h"
#include "tests/bench/counting_proxy.h"

namespace turso::bench {

namespace {

constexpr double kDelay = 0.020;

struct Cost {
  std::vector<double> exchanges;  // Of each transaction, from BEGIN to the end of COMMIT.
  std::vector<double> seconds;
  std::string calls;  // Of the last one: "lease 1, commit 1".
};

int Sum(const std::map<std::string, int>& counts) {
  int sum = 0;
  for (const auto& [call, count] : counts) sum += count;
  return sum;
}

void Transaction(Connection* replica, int statements) {
  replica->Exec("BEGIN IMMEDIATE");
  for (int i = 0; i < statements; ++i) replica->Exec("INSERT INTO w(text) VALUES ('a few words')");
  replica->Exec("COMMIT");
}

Cost Measure(Connection* replica, CountingProxy* proxy, int statements, double pause, int rounds) {
  Cost cost;
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(std::chrono::duration<double>(pause));
    std::map<std::string, int> before = proxy->Counts();
    double begin = Seconds();
    Transaction(replica, statements);
    cost.seconds.push_back(Seconds() - begin);
    std::map<std::string, int> after = proxy->Counts();
    cost.exchanges.push_back(Sum(after) - Sum(before));
    cost.calls.clear();
    for (const auto& [call, count] : after) {
      if (int more = count - before[call]; more > 0) {
        cost.calls += (cost.calls.empty() ? "" : ", ") + call + " " + std::to_string(more);
      }
    }
  }
  return cost;
}

void Print(const std::string& what, const Cost& near, const Cost& far, double wanted) {
  double exchanges = Median(near.exchanges);
  char count[32], limit[32];
  std::snprintf(count, sizeof count, "%.0f", exchanges);
  std::snprintf(limit, sizeof limit, "<= %.0f", wanted);
  PrintLine(what, count, Milliseconds(Median(near.seconds)), Milliseconds(Median(far.seconds)),
            limit, exchanges <= wanted ? Verdict::kReached : Verdict::kMissed, near.calls);
}

}  // namespace

void BenchWrites(const Settings& settings) {
  const std::string primary_dir = settings.data_dir + "/primary-writes";
  const std::string path = settings.data_dir + "/writer.db";
  std::filesystem::create_directories(primary_dir);
  RemoveDatabase(primary_dir + "/bench.db");
  RemoveDatabase(path);
  Primary primary(settings, primary_dir);
  CountingProxy proxy(primary.port());
  // What the follower asks for in the background is no part of a transaction.
  Connection replica(ReplicaUri(path, proxy.url(), "&sync_interval=off"));
  replica.Exec("CREATE TABLE w(id INTEGER PRIMARY KEY, text TEXT)");

  PrintHeading("a write transaction", "exchanges", "time", "with 20 ms");
  constexpr double kLeaseGivenBack = 0.5;
  struct Case {
    const char* name;
    int statements;
    double pause;
    double wanted;
  };
  for (const Case& c : {Case{"1 statement, lease not held", 1, kLeaseGivenBack, 2},
                        Case{"1,000 statements, lease not held", 1000, kLeaseGivenBack, 2},
                        Case{"1 statement, lease held", 1, 0, 1},
                        Case{"1,000 statements, lease held", 1000, 0, 1}}) {
    proxy.set_delay(0);
    if (c.pause == 0) Transaction(&replica, 1);
    Cost near = Measure(&replica, &proxy, c.statements, c.pause, settings.rounds);
    proxy.set_delay(kDelay);
    if (c.pause == 0) Transaction(&replica, 1);
    Cost far = Measure(&replica, &proxy, c.statements, c.pause, settings.rounds);
    Print(c.name, near, far, c.wanted);
  }
}

}  // namespace turso::bench
