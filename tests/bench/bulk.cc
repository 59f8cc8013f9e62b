// Large transfers: a new replica beside a copy of the file, a pull beside SQLite's own commit of
// the same pages.

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "tests/bench/bench.h"

namespace turso::bench {

namespace {

void SyncFile(const std::string& path) {
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0 || fsync(file) != 0) Fail("cannot sync " + path);
  close(file);
}

void PrintRatio(const std::string& what, double first, double second) {
  char ratio[32];
  std::snprintf(ratio, sizeof ratio, "%.2f", second / first);
  PrintLine(what, Milliseconds(first), Milliseconds(second), ratio, "<= 3",
            second <= 3 * first ? Verdict::kReached : Verdict::kMissed);
}

void BenchBootstrap(const Settings& settings, const std::string& source, const Primary& primary) {
  const std::string copy = settings.data_dir + "/copy.db";
  const std::string replica = settings.data_dir + "/new-replica.db";
  std::vector<double> copies, replicas;
  for (int round = 0; round < settings.rounds; ++round) {
    RemoveDatabase(copy);
    double begin = Seconds();
    RunProgram({"cp", "--reflink=never", source, copy});
    SyncFile(copy);
    copies.push_back(Seconds() - begin);

    RemoveDatabase(replica);
    begin = Seconds();
    Connection connection(ReplicaUri(replica, primary.url()));
    connection.Text("SELECT k FROM t WHERE id = 1");
    replicas.push_back(Seconds() - begin);
  }
  RemoveDatabase(copy);
  RemoveDatabase(replica);
  PrintHeading("bulk", "cp + fsync", "new replica", "ratio");
  PrintRatio("a database of " + std::to_string(settings.megabytes) + " MB", Median(copies),
             Median(replicas));
}

// One row of each page in turn, so that a transaction changes 1,000 pages of the table.
std::string ChangePages(int round) {
  return "UPDATE t SET k = k + 1 WHERE id <= 3000 AND id % 3 = " + std::to_string(round % 3);
}

void BenchPull(const Settings& settings, const std::string& source, const Primary& primary) {
  const std::string writer_path = settings.data_dir + "/pull-writer.db";
  const std::string reader_path = settings.data_dir + "/pull-reader.db";
  RemoveDatabase(writer_path);
  RemoveDatabase(reader_path);
  const char* cache = "PRAGMA cache_size = 20000";  // Nothing spills: COMMIT writes all.
  Connection plain("file:" + source);
  plain.Exec(cache);
  plain.Exec("PRAGMA journal_mode=wal");
  plain.Exec("PRAGMA wal_autocheckpoint=0");
  Connection writer(ReplicaUri(writer_path, primary.url(), "&sync_interval=off"));
  writer.Exec(cache);
  Connection reader(ReplicaUri(reader_path, primary.url(), "&sync_interval=off"));
  std::vector<double> commits, pulls;
  for (int round = 0; round < settings.rounds; ++round) {
    plain.Exec("BEGIN");
    plain.Exec(ChangePages(round));
    double begin = Seconds();
    plain.Exec("COMMIT");
    commits.push_back(Seconds() - begin);
    plain.Exec("PRAGMA wal_checkpoint(TRUNCATE)");

    writer.Exec(ChangePages(round));
    begin = Seconds();
    reader.Exec("PRAGMA turso_sync");
    pulls.push_back(Seconds() - begin);
    const std::string sum = "SELECT sum(k) FROM t WHERE id <= 3000";
    if (reader.Text(sum) != plain.Text(sum)) Fail("the pull did not bring the changes");
  }
  PrintHeading("", "COMMIT", "turso_sync", "ratio");
  PrintRatio("1,000 changed pages", Median(commits), Median(pulls));
}

}  // namespace

void BenchBulk(const Settings& settings) {
  const std::string source = settings.data_dir + "/bulk.db";
  const std::string primary_dir = settings.data_dir + "/primary-bulk";
  MakeSource(source, settings.megabytes);
  std::filesystem::create_directories(primary_dir);
  RemoveDatabase(primary_dir + "/bench.db");
  RunProgram({settings.build_dir + "/turso-primary", "create", "bench", "--data", primary_dir,
              "--from", source});
  SyncFile(primary_dir + "/bench.db");
  Primary primary(settings, primary_dir);
  BenchBootstrap(settings, source, primary);
  BenchPull(settings, source, primary);
}

}  // namespace turso::bench
