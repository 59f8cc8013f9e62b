// What the extension costs the program that it is loaded into. Each number comes from a process of
// its own, since a second load in one process does nothing.

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/bench/bench.h"

namespace turso::bench {

namespace {

// Memory that is this process's alone, or -1.
int64_t PrivateKilobytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::string line;
  while (std::getline(rollup, line)) {
    int64_t kilobytes = 0;
    if (std::sscanf(line.c_str(), "Private_Dirty: %ld kB", &kilobytes) == 1) return kilobytes;
  }
  return -1;
}

void IdleFor(Connection* connection, double seconds) {
  connection->Text("SELECT count(*) FROM sqlite_schema");
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

}  // namespace

int RunGuestChild(const Settings& settings, const std::string& what, const std::string& uri) {
  if (what == "load") {
    Connection warm_up(":memory:");
    double begin = Seconds();
    LoadExtension(settings);
    std::printf("%.9f\n", Seconds() - begin);
    return 0;
  }
  if (what == "replica") LoadExtension(settings);
  Connection connection(uri);
  IdleFor(&connection, 1);
  std::printf("%ld\n", PrivateKilobytes());
  return 0;
}

void BenchGuest(const Settings& settings) {
  const std::string primary_dir = settings.data_dir + "/primary-guest";
  const std::string replica = settings.data_dir + "/guest.db";
  const std::string plain = settings.data_dir + "/guest-plain.db";
  std::filesystem::create_directories(primary_dir);
  for (const std::string& path : {primary_dir + "/bench.db", replica, plain}) RemoveDatabase(path);
  Primary primary(settings, primary_dir);
  Connection(std::string("file:") + plain).Exec("PRAGMA journal_mode=wal; CREATE TABLE t(x)");
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  auto child = [&](const std::string& what, const std::string& uri) {
    return std::atof(
        RunProgram({self, "--build", settings.build_dir, "--guest", what, uri}).c_str());
  };

  std::vector<double> loads, with, without;
  for (int round = 0; round < settings.rounds; ++round) {
    loads.push_back(child("load", ""));
    without.push_back(child("plain", "file:" + plain));
    with.push_back(child("replica", ReplicaUri(replica, primary.url())));
  }
  PrintHeading("in the host program", "without", "with", "added");
  double load = Median(loads);
  PrintLine("loading the extension", "", "", Milliseconds(load), "< 5 ms",
            load < 0.005 ? Verdict::kReached : Verdict::kMissed);
  double added = Median(with) - Median(without);
  auto megabytes = [](double kilobytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f MB", kilobytes / 1000);
    return std::string(text);
  };
  PrintLine("private memory, one open idle database", megabytes(Median(without)),
            megabytes(Median(with)), megabytes(added), "< 4 MB",
            added < 4000 ? Verdict::kReached : Verdict::kMissed);
}

}  // namespace turso::bench
