#include "tests/bench/bench.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace turso::bench {

void Fail(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(1);
}

double Seconds() {
  using std::chrono::steady_clock;
  return std::chrono::duration<double>(steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  if (values.empty()) Fail("the median of nothing");
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string Milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, seconds < 0.001 ? "%.4f ms" : "%.2f ms", seconds * 1000);
  return text;
}

Connection::Connection(const std::string& uri) {
  int rc = sqlite3_open_v2(
      uri.c_str(), &handle_,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  if (rc != SQLITE_OK) Fail("cannot open " + uri + ": " + sqlite3_errmsg(handle_));
}

Connection::~Connection() { sqlite3_close(handle_); }

void Connection::Exec(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    Fail(sql + ": " + sqlite3_errmsg(handle_));
  }
}

std::string Connection::Text(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  std::string text;
  if (sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK ||
      sqlite3_step(statement) != SQLITE_ROW) {
    Fail(sql + ": " + sqlite3_errmsg(handle_));
  }
  if (const unsigned char* column = sqlite3_column_text(statement, 0)) {
    text = reinterpret_cast<const char*>(column);
  }
  sqlite3_finalize(statement);
  return text;
}

Statement::Statement(Connection* connection, const std::string& sql)
    : database_(connection->handle()) {
  if (sqlite3_prepare_v2(database_, sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK) {
    Fail(sql + ": " + sqlite3_errmsg(database_));
  }
}

Statement::~Statement() { sqlite3_finalize(statement_); }

int64_t Statement::Run() {
  int64_t value = 0;
  int rc = sqlite3_step(statement_);
  if (rc == SQLITE_ROW) {
    value = sqlite3_column_int64(statement_, 0);
    do rc = sqlite3_step(statement_);
    while (rc == SQLITE_ROW);
  }
  if (rc != SQLITE_DONE) {
    Fail(std::string(sqlite3_sql(statement_)) + ": " + sqlite3_errmsg(database_));
  }
  sqlite3_reset(statement_);
  return value;
}

int64_t Statement::Run(int64_t argument) {
  sqlite3_bind_int64(statement_, 1, argument);
  return Run();
}

int64_t Statement::Run(int64_t first, int64_t second) {
  sqlite3_bind_int64(statement_, 2, second);
  return Run(first);
}

namespace {

struct Child {
  pid_t pid;
  int output;
};

Child Spawn(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Fail("pipe");
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = fork();
  if (pid < 0) Fail("fork");
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  close(ends[1]);
  return {pid, ends[0]};
}

}  // namespace

std::string RunProgram(const std::vector<std::string>& command) {
  Child child = Spawn(command);
  std::string output;
  char buffer[4096];
  for (ssize_t n; (n = read(child.output, buffer, sizeof buffer)) > 0;) {
    output.append(buffer, static_cast<size_t>(n));
  }
  close(child.output);
  int status = 0;
  waitpid(child.pid, &status, 0);
  if (status != 0) Fail(command[0] + " failed");
  return output;
}

Primary::Primary(const Settings& settings, const std::string& data_dir) {
  Child child = Spawn({settings.build_dir + "/turso-primary", "--listen", "127.0.0.1:0", "--data",
                       data_dir, "--create", "--log", data_dir + "/log"});
  pid_ = child.pid;
  const std::string greeting = "listening on ";
  std::string output;
  char c;
  while (read(child.output, &c, 1) == 1) {
    output += c;
    if (c != '\n') continue;
    if (size_t at = output.find(greeting); at != std::string::npos) {
      url_ = output.substr(at + greeting.size());
      url_.pop_back();
      return;  // The pipe stays open, or the primary would get SIGPIPE.
    }
  }
  Fail("turso-primary ended: " + output);
}

Primary::~Primary() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

int Primary::port() const { return std::atoi(url_.c_str() + url_.rfind(':') + 1); }

std::string ReplicaUri(const std::string& path, const std::string& url, const std::string& more) {
  return "file:" + path + "?vfs=turso&url=" + url + "/bench" + more;
}

void LoadExtension(const Settings& settings) {
  Connection loader(":memory:");
  sqlite3_db_config(loader.handle(), SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, nullptr);
  char* error = nullptr;
  std::string file = settings.build_dir + "/libturso_vfs";
  if (sqlite3_load_extension(loader.handle(), file.c_str(), nullptr, &error) != SQLITE_OK) {
    Fail("cannot load " + file + ": " + (error ? error : "?"));
  }
}

void RemoveDatabase(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-shm", "-turso"}) std::filesystem::remove(path + suffix);
}

int64_t MakeSource(const std::string& path, int megabytes) {
  constexpr int kRowBytes = 1300;  // Three rows a page of 4096 bytes.
  RemoveDatabase(path);
  Connection source("file:" + path);
  int64_t rows = int64_t{megabytes} * 1000 * 1000 / 4096 * 3;
  source.Exec("PRAGMA journal_mode=wal");
  source.Exec("PRAGMA synchronous=off");
  source.Exec("CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, payload BLOB)");
  source.Exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
              std::to_string(rows) + ") INSERT INTO t SELECT i, i * 7919 % 1000003, randomblob(" +
              std::to_string(kRowBytes) + ") FROM n");
  source.Exec("PRAGMA wal_checkpoint(TRUNCATE)");
  return rows;
}

namespace {
constexpr const char* kFormat = "%-44s %14s %14s %12s   %-10s %s\n";
}

void PrintHeading(const std::string& title, const std::string& first, const std::string& second,
                  const std::string& third) {
  std::printf("\n");
  std::printf(kFormat, title.c_str(), first.c_str(), second.c_str(), third.c_str(), "wanted", "");
  std::fflush(stdout);
}

void PrintLine(const std::string& what, const std::string& first, const std::string& second,
               const std::string& third, const std::string& limit, Verdict verdict,
               const std::string& note) {
  const char* word = verdict == Verdict::kNone      ? ""
                     : verdict == Verdict::kReached ? "reached"
                                                    : "MISSED";
  std::string end = word + (note.empty() ? "" : " (" + note + ")");
  std::printf(kFormat, what.c_str(), first.c_str(), second.c_str(), third.c_str(), limit.c_str(),
              end.c_str());
  std::fflush(stdout);
}

}  // namespace turso::bench
