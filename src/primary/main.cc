// turso-primary: the embedded primary's command line.

#include <malloc.h>
#include <sqlite3.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "extension/turso_vfs.h"
#include "src/base/log.h"
#include "src/primary/create_database.h"
#include "src/primary/errno_text.h"
#include "src/primary/server.h"

namespace {

using turso::Code;
using turso::ErrnoText;
using turso::LogLevel;
using turso::Result;
using turso::Status;

struct Arguments {
  std::string listen = "127.0.0.1:8080";
  std::string data;
  std::string token_file;
  std::string read_token_file;
  std::string tls_certificate;
  std::string tls_key;
  std::string log;
  bool create = false;
  uint32_t pending_byte = 0;

  std::string name;
  std::string from;
  uint32_t page_size = turso::NewDatabase().page_size;
};

// Standard error until --log names a file. Written to from any thread, a line at a time.
FILE* log_file = stderr;

void WriteLog(LogLevel level, const char* line) {
  static constexpr const char* kNames[] = {"info", "warning", "error"};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char stamp[32];
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  fprintf(log_file, "%s.%03ldZ %s %s\n", stamp, now.tv_nsec / 1000000,
          kNames[static_cast<int>(level)], line);
  fflush(log_file);
}

Result<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad())
    return Status(Code::kInvalid, "cannot read " + path + ": " + ErrnoText());
  return text;
}

Status ReadTls(const Arguments& arguments, turso::HttpServerOptions* http) {
  if (arguments.tls_certificate.empty()) return turso::OkStatus();
  Result<std::string> certificate = ReadFile(arguments.tls_certificate);
  if (!certificate.ok()) return certificate.status();
  Result<std::string> key = ReadFile(arguments.tls_key);
  if (!key.ok()) return key.status();
  http->tls_certificate = std::move(*certificate);
  http->tls_key = std::move(*key);
  return turso::OkStatus();
}

Status ReadOptions(const Arguments& arguments, turso::ServerOptions* options) {
  options->directory = arguments.data;
  options->new_database.page_size = arguments.page_size;
  options->on_missing = arguments.create ? turso::OnMissing::kCreate : turso::OnMissing::kRefuse;
  TURSO_RETURN_IF_ERROR(turso::ParseListen(arguments.listen, &options->http));
  TURSO_RETURN_IF_ERROR(ReadTls(arguments, &options->http));
  if (!arguments.token_file.empty()) {
    TURSO_RETURN_IF_ERROR(options->tokens.AddFile(arguments.token_file, turso::Access::kWrite));
  }
  if (!arguments.read_token_file.empty()) {
    TURSO_RETURN_IF_ERROR(options->tokens.AddFile(arguments.read_token_file, turso::Access::kRead));
  }
  return turso::OkStatus();
}

int Fail(const Status& status) {
  fprintf(stderr, "turso-primary: %s\n", status.text().c_str());
  return status.code() == Code::kInvalid ? 2 : 1;
}

int Create(const Arguments& arguments) {
  turso::NewDatabase content;
  if (!arguments.from.empty()) content.from = arguments.from;
  content.page_size = arguments.page_size;
  Result<std::string> made = turso::CreateDatabase(arguments.data, arguments.name, content);
  return made.ok() ? 0 : Fail(made.status());
}

int Serve(const Arguments& arguments) {
  turso::ServerOptions options;
  if (Status status = ReadOptions(arguments, &options); !status.ok()) return Fail(status);
  if (!arguments.log.empty()) {
    log_file = fopen(arguments.log.c_str(), "ae");
    if (!log_file) {
      log_file = stderr;
      return Fail(Status(Code::kInvalid, "cannot write " + arguments.log + ": " + ErrnoText()));
    }
  }
  turso::SetLogSink(&WriteLog);

  // Blocked before the first thread starts, so that every thread inherits it and only sigwait()
  // takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  if (arguments.pending_byte != 0)
    sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, arguments.pending_byte);
  const bool is_open_to_all = options.tokens.empty();
  Result<std::unique_ptr<turso::Server>> server = turso::Server::Start(std::move(options));
  if (!server.ok()) return Fail(server.status());
  if (is_open_to_all) {
    fprintf(stderr,
            "turso-primary: no token file: it listens on loopback only, and whoever is on this "
            "machine may write\n");
  }
  std::string url = (*server)->url();
  turso::Log(LogLevel::kInfo,
             "turso-primary " TURSO_VFS_VERSION " serves " + arguments.data + " on " + url);
  printf("listening on %s\n", url.c_str());
  fflush(stdout);

  int signal_number = 0;
  while (sigwait(&signals, &signal_number) != 0) {
  }
  turso::Log(LogLevel::kInfo,
             signal_number == SIGTERM ? "stopping on SIGTERM" : "stopping on SIGINT");
  Status stopped = (*server)->Stop();
  if (!stopped.ok()) return Fail(stopped);
  turso::Log(LogLevel::kInfo, "stopped");
  return 0;
}

CLI::Option* AddPageSize(CLI::App* app, Arguments* arguments) {
  return app->add_option("--page-size", arguments->page_size, "Page size of a new, empty database")
      ->check([](const std::string& text) -> std::string {
        const char* const end = text.data() + text.size();
        uint32_t size = 0;
        const auto [stop, error] = std::from_chars(text.data(), end, size);
        if (error == std::errc() && stop == end && turso::IsPageSize(size)) return "";
        return "a page size is a power of two from 512 to 65536";
      })
      ->type_name("BYTES")
      ->capture_default_str();
}

void Describe(CLI::App* app, Arguments* arguments) {
  app->set_version_flag("--version", "turso-primary " TURSO_VFS_VERSION);
  app->add_option("--listen", arguments->listen, "HOST:PORT to listen on; port 0 picks a free one")
      ->capture_default_str();
  app->add_option("--data", arguments->data,
                  "Directory of the databases: DIR/NAME.db is served at /NAME")
      ->type_name("DIR");
  app->add_flag("--create", arguments->create, "Make a database when it is first asked for");
  AddPageSize(app, arguments);
  app->add_option("--token-file", arguments->token_file,
                  "Tokens that may read and write, one a line")
      ->type_name("FILE");
  app->add_option("--read-token-file", arguments->read_token_file,
                  "Tokens that may only read, one a line")
      ->type_name("FILE");
  auto* certificate =
      app->add_option("--tls-cert", arguments->tls_certificate, "Certificate in PEM: serve https")
          ->type_name("FILE");
  auto* key = app->add_option("--tls-key", arguments->tls_key, "Its key in PEM")->type_name("FILE");
  certificate->needs(key);
  key->needs(certificate);
  app->add_option("--log", arguments->log, "File to append the log to, in place of standard error")
      ->type_name("FILE");
  // For SQLite's own test suite, which moves the page that holds no data to where small databases
  // have it.
  app->add_option("--pending-byte", arguments->pending_byte)->group("");
  app->require_subcommand(0, 1);
}

int Run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Serves SQLite databases to libturso_vfs replicas, and to SQL clients over Hrana.",
               "turso-primary");
  Describe(&app, &arguments);
  CLI::App* create = app.add_subcommand("create", "Makes a database DIR/NAME.db");
  create->add_option("NAME", arguments.name, "Name of the database")->required();
  create->add_option("--data", arguments.data, "Directory of the databases")
      ->type_name("DIR")
      ->required();
  create->add_option("--from", arguments.from, "SQLite database to copy")
      ->type_name("FILE.db")
      ->excludes(AddPageSize(create, &arguments));
  CLI11_PARSE(app, argc, argv);
  if (create->parsed()) return Create(arguments);
  if (arguments.data.empty())
    return Fail(Status(Code::kInvalid, "--data DIR is required (see --help)"));
  return Serve(arguments);
}

}  // namespace

int main(int argc, char** argv) {
  // Answers of many megabytes come and go: without this their memory is given back to the system
  // and asked for again each time, which costs more than filling it.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  try {
    return Run(argc, argv);
  } catch (const std::exception& failure) {
    fprintf(stderr, "turso-primary: %s\n", failure.what());
    return 1;
  }
}
