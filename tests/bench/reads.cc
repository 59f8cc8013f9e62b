// Reads on a replica beside the same reads on a plain WAL database of the same pages.

#include <barrier>
#include <filesystem>
#include <memory>
#include <random>
#include <thread>

#include "tests/bench/bench.h"

namespace turso::bench {

namespace {

struct Workload {
  const char* name;
  int operations;  // Of each thread, in a round, when there is one thread.
  std::function<void(Connection*, int64_t rows, uint32_t seed, int operations)> run;
};

void PointSelects(Connection* connection, int64_t rows, uint32_t seed, int operations) {
  Statement select(connection, "SELECT k FROM t WHERE id = ?");
  std::mt19937 random(seed);
  for (int i = 0; i < operations; ++i) {
    select.Run(1 + static_cast<int64_t>(random()) % rows);
  }
}

void PointSelectsInTransaction(Connection* connection, int64_t rows, uint32_t seed,
                               int operations) {
  connection->Exec("BEGIN");
  PointSelects(connection, rows, seed, operations);
  connection->Exec("COMMIT");
}

void RangeScans(Connection* connection, int64_t rows, uint32_t seed, int operations) {
  constexpr int64_t kRange = 1000;
  Statement select(connection, "SELECT sum(k) FROM t WHERE id BETWEEN ? AND ?");
  std::mt19937 random(seed);
  for (int i = 0; i < operations; ++i) {
    int64_t first = 1 + static_cast<int64_t>(random()) % (rows - kRange);
    select.Run(first, first + kRange - 1);
  }
}

void FullScans(Connection* connection, int64_t, uint32_t, int operations) {
  Statement select(connection, "SELECT sum(k) FROM t");
  for (int i = 0; i < operations; ++i) select.Run();
}

// Seconds that `threads` connections take for one round, opening not counted.
double Round(const std::string& uri, const Workload& workload, int threads, int64_t rows,
             uint32_t seed) {
  int operations = std::max(1, workload.operations / threads);
  std::barrier start(threads + 1);
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      Connection connection(uri);
      connection.Text("SELECT k FROM t WHERE id = 1");
      start.arrive_and_wait();
      workload.run(&connection, rows, seed + static_cast<uint32_t>(t), operations);
    });
  }
  start.arrive_and_wait();
  double begin = Seconds();
  for (std::thread& worker : workers) worker.join();
  return Seconds() - begin;
}

}  // namespace

void BenchReads(const Settings& settings) {
  const std::string source = settings.data_dir + "/source.db";
  const std::string plain = settings.data_dir + "/plain.db";
  const std::string replica = settings.data_dir + "/replica.db";
  const std::string primary_dir = settings.data_dir + "/primary-reads";
  int64_t rows = MakeSource(source, settings.megabytes);
  std::filesystem::create_directories(primary_dir);
  RemoveDatabase(primary_dir + "/bench.db");
  RemoveDatabase(plain);
  RemoveDatabase(replica);
  RunProgram({settings.build_dir + "/turso-primary", "create", "bench", "--data", primary_dir,
              "--from", source});
  // Copied in large writes, as a new replica is written: a file that SQLite wrote page by page lies
  // in the system's page cache in smaller pieces, and reads more slowly.
  RunProgram({"cp", "--reflink=never", source, plain});
  RemoveDatabase(source);
  Primary primary(settings, primary_dir);
  const std::string plain_uri = "file:" + plain;
  const std::string replica_uri = ReplicaUri(replica, primary.url());
  // Both stay open throughout, as in a program that serves requests, and lie in the page cache.
  Connection keep_plain(plain_uri);
  Connection keep_replica(replica_uri);
  if (keep_plain.Text("SELECT sum(k) || ' ' || count(*) FROM t") !=
      keep_replica.Text("SELECT sum(k) || ' ' || count(*) FROM t")) {
    Fail("plain and replica differ");
  }

  const Workload workloads[] = {
      {"point select, autocommit", 60000, PointSelects},
      {"point select, in a transaction", 60000, PointSelectsInTransaction},
      {"range scan of 1,000 rows", 1500, RangeScans},
      {"full scan", 1, FullScans},
  };
  PrintHeading("reads of " + std::to_string(settings.megabytes) + " MB", "plain WAL", "replica",
               "plain/replica");
  uint32_t seed = 1;
  for (const Workload& workload : workloads) {
    for (int threads : {1, 4, 16}) {
      std::vector<double> plain_times, replica_times, noise;
      for (int round = 0; round < settings.rounds; ++round, seed += 100) {
        // In turn, and each time other rows: nobody finds in the processor's caches what his own
        // run before has left there. Every second round the replica begins.
        double times[4];
        for (int turn = 0; turn < 4; ++turn) {
          bool is_plain = (turn + round) % 2 == 0;
          times[turn] = Round(is_plain ? plain_uri : replica_uri, workload, threads, rows,
                              seed + 25 * static_cast<uint32_t>(turn));
        }
        int begin = round % 2;  // Where plain is first.
        plain_times.push_back((times[begin] + times[begin + 2]) / 2);
        replica_times.push_back((times[1 - begin] + times[3 - begin]) / 2);
        noise.push_back(times[begin] / times[begin + 2]);
      }
      std::vector<double> ratios;
      for (size_t i = 0; i < plain_times.size(); ++i) {
        ratios.push_back(plain_times[i] / replica_times[i]);
      }
      int operations = std::max(1, workload.operations / threads);
      double ratio = Median(ratios);
      char text[32], control[48];
      std::snprintf(text, sizeof text, "%.3f", ratio);
      std::snprintf(control, sizeof control, "plain/plain %.3f", Median(noise));
      PrintLine(std::string(workload.name) + ", " + std::to_string(threads) +
                    (threads == 1 ? " thread" : " threads"),
                Milliseconds(Median(plain_times) / operations),
                Milliseconds(Median(replica_times) / operations), text, ">= 0.95",
                ratio >= 0.95 ? Verdict::kReached : Verdict::kMissed, control);
    }
  }
}

}  // namespace turso::bench
