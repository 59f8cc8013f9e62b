// What the benchmarks share: a plain database and a replica to set side by side, a primary to talk
// to, a table to print.
//
// A measurement is taken in rounds, plain and replica in turn, so that what else the machine does
// weighs on both; what is printed is the median of the rounds and the ratio of one run.

#ifndef TURSO_TESTS_BENCH_BENCH_H_
#define TURSO_TESTS_BENCH_BENCH_H_

#include <sqlite3.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace turso::bench {

struct Settings {
  std::string build_dir;
  std::string data_dir;
  int rounds = 9;
  int megabytes = 500;
};

// A connection that ends the benchmark with a text when anything fails.
class Connection {
 public:
  explicit Connection(const std::string& uri);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Exec(const std::string& sql);
  std::string Text(const std::string& sql);
  sqlite3* handle() { return handle_; }

 private:
  sqlite3* handle_ = nullptr;
};

class Statement {
 public:
  Statement(Connection* connection, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Runs to the end and returns the first column of the first row.
  int64_t Run();
  int64_t Run(int64_t argument);
  int64_t Run(int64_t first, int64_t second);

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

// build/turso-primary on a free port, stopped at the end.
class Primary {
 public:
  Primary(const Settings& settings, const std::string& data_dir);
  ~Primary();
  Primary(const Primary&) = delete;
  Primary& operator=(const Primary&) = delete;

  const std::string& url() const { return url_; }
  int port() const;

 private:
  pid_t pid_ = -1;
  std::string url_;
};

// "file:PATH?vfs=turso&url=URL/bench", and `more` behind it.
std::string ReplicaUri(const std::string& path, const std::string& url,
                       const std::string& more = "");
void LoadExtension(const Settings& settings);
// Removes a database and whatever lies beside it.
void RemoveDatabase(const std::string& path);
// A WAL-mode database of about `megabytes` with one table t(id INTEGER PRIMARY KEY, k INTEGER,
// payload BLOB), ids from 1 without gaps. Returns the number of rows.
int64_t MakeSource(const std::string& path, int megabytes);
// Runs a program to its end and returns what it printed.
std::string RunProgram(const std::vector<std::string>& command);

[[noreturn]] void Fail(const std::string& what);
double Seconds();  // On a clock that only runs forward.
double Median(std::vector<double> values);
std::string Milliseconds(double seconds);

// One line of the table. `limit` is what the ratio or the value has to reach, as text.
enum class Verdict { kNone, kReached, kMissed };
void PrintHeading(const std::string& title, const std::string& first, const std::string& second,
                  const std::string& third);
void PrintLine(const std::string& what, const std::string& first, const std::string& second,
               const std::string& third, const std::string& limit, Verdict verdict,
               const std::string& note = "");

// The benchmarks.
void BenchReads(const Settings& settings);
void BenchWrites(const Settings& settings);
void BenchGuest(const Settings& settings);
void BenchBulk(const Settings& settings);
// What BenchGuest runs in processes of their own: prints one number.
int RunGuestChild(const Settings& settings, const std::string& what, const std::string& uri);

}  // namespace turso::bench

#endif  // TURSO_TESTS_BENCH_BENCH_H_
