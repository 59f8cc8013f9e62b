// Started by scripts/bench.

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tests/bench/bench.h"

using turso::bench::Fail;

int main(int argc, char** argv) {
  turso::bench::Settings settings;
  std::vector<std::string> chosen;
  std::string guest, uri;
  for (int i = 1; i < argc; ++i) {
    std::string option = argv[i];
    if (i + 1 == argc) Fail(option + " needs a value");
    const char* value = argv[++i];
    if (option == "--build") {
      settings.build_dir = std::filesystem::absolute(value);
    } else if (option == "--data") {
      settings.data_dir = std::filesystem::absolute(value);
    } else if (option == "--rounds") {
      settings.rounds = std::atoi(value);
    } else if (option == "--megabytes") {
      settings.megabytes = std::atoi(value);
    } else if (option == "--only") {
      chosen.push_back(value);
    } else if (option == "--guest") {
      guest = value;
      if (++i < argc) uri = argv[i];
    } else {
      Fail("unknown option " + option);
    }
  }
  if (!guest.empty()) return turso::bench::RunGuestChild(settings, guest, uri);
  if (settings.rounds < 1 || settings.megabytes < 1) Fail("--rounds and --megabytes start at 1");
  turso::bench::LoadExtension(settings);
  std::filesystem::create_directories(settings.data_dir);
  struct Benchmark {
    const char* name;
    void (*run)(const turso::bench::Settings&);
  };
  const Benchmark benchmarks[] = {{"guest", turso::bench::BenchGuest},
                                  {"writes", turso::bench::BenchWrites},
                                  {"bulk", turso::bench::BenchBulk},
                                  {"reads", turso::bench::BenchReads}};
  if (chosen.empty()) {
    for (const Benchmark& benchmark : benchmarks) chosen.push_back(benchmark.name);
  }
  for (const std::string& name : chosen) {
    bool found = false;
    for (const Benchmark& benchmark : benchmarks) {
      if (name != benchmark.name) continue;
      benchmark.run(settings);
      found = true;
    }
    if (!found) Fail("there is no benchmark " + name);
  }
  return 0;
}
