#include "src/remote/primary_remote.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/remote_contract.h"
#include "tests/support/fake_primary_server.h"

namespace turso {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;
using Connection = ScriptedServer::Connection;

constexpr const char* kToken = "s3cret-token";

// The contract, over real sockets: a fake primary behind the protocol.
class WireFixture : public RemoteFixture {
 public:
  explicit WireFixture(PageCodec codec)
      : codec_(codec),
        server_(std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase()), 500, kToken) {}
  std::unique_ptr<Remote> Connect() override {
    return std::make_unique<PrimaryRemote>(PrimaryAddress{server_.url(), kToken, "", codec_});
  }

 private:
  const PageCodec codec_;
  FakePrimaryServer server_;
};

RemoteContractParam Over(const char* name, PageCodec codec) {
  return {name, [codec] { return std::make_unique<WireFixture>(codec); }};
}
INSTANTIATE_TEST_SUITE_P(PrimaryRemote, RemoteContract,
                         ::testing::Values(Over("Raw", PageCodec::kRaw),
                                           Over("Lz4", PageCodec::kLz4)),
                         [](const auto& p) { return p.param.name; });

// `count` pages of a database that has them on its freelist.
Bytes DatabaseOf(uint32_t count) {
  Bytes file = FakePrimary::EmptyDatabase();
  file.resize(count * 4096);
  for (uint32_t n = 2; n <= count; n++) StoreBig32(&file[(n - 1) * 4096 + 100], n * 7);
  StoreBig32(&file[28], count);
  return file;
}

class PrimaryRemoteTest : public ::testing::Test {
 protected:
  void Start(uint32_t pages, size_t part_pages = 500, const std::string& token = "") {
    primary_ = std::make_shared<FakePrimary>(DatabaseOf(pages));
    server_ = std::make_unique<FakePrimaryServer>(primary_, part_pages, token);
    Connect(token);
  }
  void Connect(const std::string& token, const std::string& token_file = "") {
    remote_ = std::make_unique<PrimaryRemote>(
        PrimaryAddress{server_->url(), token, token_file, PageCodec::kRaw});
  }
  // Answers `call` by hand, once; every other call is served.
  void Once(const std::string& call, std::function<void(Connection&)> answer) {
    auto used = std::make_shared<std::atomic<bool>>(false);
    server_->set_intercept([=](Connection& c, const std::string& name, const ScriptedRequest&) {
      if (name != call || used->exchange(true)) return false;
      answer(c);
      return true;
    });
  }
  // One changed page.
  // The first of one replica each.
  Transaction OneCommit(uint8_t replica = 1) {
    pages_ = PageSet(4096);
    Bytes file = primary_->File();
    pages_.Put(PageNo{1}, file.data());
    pages_.set_db_size(static_cast<uint32_t>(file.size() / 4096));
    return Transaction{CommitId{{9, replica}, 1}, primary_->revision(), 0, &pages_};
  }
  Status CommitOnce(uint8_t replica = 1) {
    return remote_->Commit(OneCommit(replica), call_).status();
  }

  std::shared_ptr<FakePrimary> primary_;
  std::unique_ptr<FakePrimaryServer> server_;
  std::unique_ptr<PrimaryRemote> remote_;
  RemoteCopy copy_;
  PageSet pages_;
  Call call_{milliseconds(500), {}, nullptr};
};

TEST_F(PrimaryRemoteTest, PullsAgainWhatChangedBetweenTheParts) {
  Start(20, 3);
  std::atomic<int> pulls{0};
  server_->set_intercept([&](Connection&, const std::string& call, const ScriptedRequest&) {
    // Between the parts pages before and after the current one change, and the database grows.
    int n = call == "pull" ? ++pulls : 0;
    if (n >= 2 && n <= 4) {
      Bytes file = primary_->File();
      file.resize(file.size() + 4096);
      file[4096 + static_cast<size_t>(n)] ^= 0x55;
      file[19 * 4096 + static_cast<size_t>(n)] ^= 0x55;
      primary_->WriteFile(file);
    }
    return false;
  });
  Result<Revision> revision = remote_->Pull({}, {}, &copy_, call_);
  ASSERT_TRUE(revision.ok()) << revision.status().text();
  EXPECT_EQ(*revision, primary_->revision());
  Bytes pulled;
  for (const Bytes& page : copy_.pages()) pulled.insert(pulled.end(), page.begin(), page.end());
  EXPECT_TRUE(pulled == primary_->File());
  EXPECT_GT(pulls, 8);
}

TEST_F(PrimaryRemoteTest, PullsADatabaseThatShrinksBetweenTheParts) {
  Start(20, 3);
  std::atomic<int> pulls{0};
  server_->set_intercept([&](Connection&, const std::string& call, const ScriptedRequest&) {
    if (call == "pull" && ++pulls == 4) {
      Bytes file = primary_->File();
      file.resize(5 * 4096);
      primary_->WriteFile(file);
    }
    return false;
  });
  Result<Revision> revision = remote_->Pull({}, {}, &copy_, call_);
  ASSERT_TRUE(revision.ok()) << revision.status().text();
  EXPECT_EQ(*revision, primary_->revision());
  EXPECT_EQ(copy_.db_size(), 5u);
}

// The sink holds the first part until the server has seen the question for the second.
TEST_F(PrimaryRemoteTest, AsksForTheNextPartBeforeItTakesTheCurrentOne) {
  Start(6, 3);
  struct Sink : RemoteCopy {
    Status Page(PageNo page, ByteView image) override {
      if (page.value == 1) was_asked = server->WaitForRequests(2);
      return RemoteCopy::Page(page, image);
    }
    ScriptedServer* server;
    bool was_asked = false;
  } sink;
  sink.server = &server_->server();
  ASSERT_TRUE(remote_->Pull({}, {}, &sink, call_).ok());
  EXPECT_TRUE(sink.was_asked);
  EXPECT_EQ(remote_->traffic().round_trips, 2u);
  EXPECT_EQ(server_->server().connections(), 1);
}

TEST_F(PrimaryRemoteTest, BuildsOnTheCommitsThatTheReplicaItselfMadeMeanwhile) {
  Start(4);
  call_.replica = {0xab};
  struct Sink : RemoteCopy {
    void Base(const Revision& base) override { bases.push_back(base); }
    std::vector<Revision> bases;
  } sink;
  Revision base = primary_->revision();
  server_->set_edit(
      [&](const std::string&, json* head) { (*head)["since"] = std::string(base.text()); });
  // It has committed `base` while it asked, and nothing came after that: it is told so, no more.
  Result<Revision> revision = remote_->Pull({}, milliseconds(1), &sink, call_);
  ASSERT_TRUE(revision.ok()) << revision.status().text();
  EXPECT_EQ(*revision, base);
  EXPECT_EQ(sink.bases, std::vector<Revision>{base});
  EXPECT_EQ(sink.db_size(), 0u);
  Result<Message> asked = Message::Decode(AsBytes(server_->server().requests().at(0).body));
  EXPECT_EQ(TextField(asked->head(), "replica").value(), "ab" + std::string(30, '0'));
  for (const json& bad : {json(""), json(7), json("no revision")}) {
    server_->set_edit([&](const std::string&, json* head) { (*head)["since"] = bad; });
    revision = remote_->Pull({}, milliseconds(1), &sink, call_);
    EXPECT_EQ(revision.status().code(), Code::kCorrupt) << bad;
  }
  EXPECT_EQ(sink.bases.size(), 1u);
}

TEST_F(PrimaryRemoteTest, StopsWhenTheSinkRefusesAndIsAsGoodAsNew) {
  Start(20, 3);
  struct Sink : RemoteCopy {
    Status Page(PageNo page, ByteView image) override {
      if (page.value == 5) return Status(Code::kFull, "no space left on the device");
      return RemoteCopy::Page(page, image);
    }
  } sink;
  Result<Revision> revision = remote_->Pull({}, {}, &sink, call_);
  EXPECT_EQ(revision.status().code(), Code::kFull);
  EXPECT_EQ(revision.status().text(), "no space left on the device");
  EXPECT_TRUE(remote_->Pull({}, {}, &copy_, call_).ok());
}

TEST_F(PrimaryRemoteTest, RefusesPagesBeyondTheEnd) {
  Start(20);
  server_->set_edit([](const std::string& call, json* head) {
    if (call == "pull") (*head)["db_size"] = 19;
  });
  Result<Revision> revision = remote_->Pull({}, {}, &copy_, call_);
  EXPECT_EQ(revision.status().code(), Code::kCorrupt);
  EXPECT_THAT(revision.status().text(), HasSubstr(server_->url()));
}

TEST_F(PrimaryRemoteTest, RefusesPartsThatDoNotMoveForward) {
  Start(20, 3);
  server_->set_edit([](const std::string& call, json* head) {
    if (call == "pull") (*head)["next_after_page"] = 3;
  });
  EXPECT_EQ(remote_->Pull({}, {}, &copy_, call_).status().code(), Code::kCorrupt);
}

TEST_F(PrimaryRemoteTest, RefusesAPageSizeThatChanges) {
  Start(20, 3);
  std::atomic<int> pulls{0};
  auto other = std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase(512));
  FakePrimaryServer other_server(other);
  server_->set_intercept([&](Connection& c, const std::string&, const ScriptedRequest& request) {
    if (++pulls != 3) return false;
    ScriptedRequest again = request;
    again.body = MessageWriter({{"since", ""}, {"after_page", 0}, {"wait_ms", 0}, {"codec", "raw"}},
                               PageCodec::kRaw)
                     .Finish();
    int status = 0;
    c.Answer(other_server.Serve("pull", again, &status), kMessageType);
    return true;
  });
  EXPECT_EQ(remote_->Pull({}, {}, &copy_, call_).status().code(), Code::kCorrupt);
}

using Act = std::function<Status(Remote*, const Transaction&, const Call&)>;
struct AnyCall {
  const char* name;
  Act act;
};
// The commit comes before the leases, which would keep it out.
const AnyCall kCalls[] = {
    {"commit", [](Remote* r, auto& t, auto& call) { return r->Commit(t, call).status(); }},
    {"identify", [](Remote* r, auto&, auto& call) { return r->Identify(call).status(); }},
    {"pull",
     [](Remote* r, auto&, auto& call) {
       RemoteCopy copy;
       return r->Pull({}, {}, &copy, call).status();
     }},
    {"lease",
     [](Remote* r, auto& t, auto& call) {
       RemoteCopy copy;
       return r->AcquireLease({{1}, t.base, {}}, &copy, call).status();
     }},
    {"renew",
     [](Remote* r, auto& t, auto& call) {
       RemoteCopy copy;
       Result<LeaseAnswer> lease = r->AcquireLease({{1}, t.base, {}}, &copy, call);
       return r->RenewLease({1}, lease.ok() ? lease->fence : 1, call).status();
     }},
    {"release", [](Remote* r, auto&, auto& call) { return r->ReleaseLease({1}, 1, call); }},
    {"settle",
     // Of the first commit above.
     [](Remote* r, auto&, auto& call) {
       return r->Settle({{9, 1}, 1}, call).status();
     }},
    {"hashes", [](Remote* r, auto&, auto& call) { return r->Hashes(call).status(); }},
    {"fetch",
     [](Remote* r, auto&, auto& call) {
       RemoteCopy copy;
       return r->Fetch({PageNo{1}}, &copy, call).status();
     }},
    {"compare",
     [](Remote* r, auto& t, auto& call) { return r->Compare(t.base, t.base, call).status(); }},
};

TEST_F(PrimaryRemoteTest, EveryFieldOfEveryAnswerIsChecked) {
  Start(4);
  int checked = 0;
  for (const AnyCall& any : kCalls) {
    server_->set_edit(nullptr);
    json good;
    server_->set_edit([&](const std::string& call, json* head) {
      if (call == any.name) good = *head;
    });
    Status fine = any.act(remote_.get(), OneCommit(static_cast<uint8_t>(++checked)), call_);
    ASSERT_TRUE(fine.ok()) << any.name << ": " << fine.text();
    for (const auto& [field, value] : good.items()) {
      if (field == "writable") continue;  // For people.
      for (const json& bad : {json(), json("~\n"), json(-1), json(0.5), json::array({json(1)})}) {
        server_->set_edit([&, name = field](const std::string& call, json* head) {
          if (call != any.name) return;
          if (bad.is_null()) head->erase(name);
          if (!bad.is_null()) (*head)[name] = bad;
        });
        Status status = any.act(remote_.get(), OneCommit(static_cast<uint8_t>(++checked)), call_);
        bool is_commit = std::string(any.name) == "commit";
        EXPECT_EQ(status.code(), is_commit ? Code::kOutcomeUnknown : Code::kCorrupt)
            << any.name << "." << field << " = " << bad << ": " << status.text();
        EXPECT_THAT(status.text(), HasSubstr(server_->url()));
      }
    }
  }
  EXPECT_GT(checked, 100);
}

struct Trouble {
  const char* name;
  std::function<void(Connection&)> answer;
  Code code;  // Of any call but a commit.
  Code commit_code;
  const char* text;  // Part of the sentence.
};
class PrimaryRemoteTrouble : public PrimaryRemoteTest,
                             public ::testing::WithParamInterface<Trouble> {};

std::string GoodAnswer() {
  return MessageWriter({{"revision", "0000000000000001-5"}, {"lease_ended", false}},
                       PageCodec::kRaw)
      .Finish();
}

TEST_P(PrimaryRemoteTrouble, IsToldInTimeByItsCodeAndNamesTheUrl) {
  const Trouble& trouble = GetParam();
  Start(4, 500, kToken);
  for (const AnyCall& any : kCalls) {
    if (std::string(any.name) == "renew") continue;  // It asks for the lease first.
    // On a new connection, and on one that was used before.
    for (const char* state : {"new", "kept"}) {
      SCOPED_TRACE(std::string(any.name) + " on a connection that is " + state);
      server_->set_intercept(nullptr);
      Connect(kToken);
      if (*state == 'k') {
        ASSERT_TRUE(remote_->Identify(call_).ok());
      }
      server_->set_intercept([&](Connection& c, const std::string&, const ScriptedRequest&) {
        trouble.answer(c);
        return true;
      });
      Instant begin = Instant::Now();
      Status status = any.act(remote_.get(), OneCommit(), call_);
      EXPECT_LT(Instant::Now() - begin, call_.timeout + seconds(1));
      bool is_commit = std::string(any.name) == "commit";
      EXPECT_EQ(status.code(), is_commit ? trouble.commit_code : trouble.code) << status.text();
      EXPECT_THAT(status.text(), HasSubstr(server_->url()));
      EXPECT_THAT(status.text(), HasSubstr(trouble.text));
      EXPECT_THAT(status.text(), Not(HasSubstr(kToken)));
    }
  }
}

const Trouble kTroubles[] = {
    {"Closes", [](Connection& c) { c.Reset(); }, Code::kUnavailable, Code::kOutcomeUnknown, ""},
    {"CutShort",
     [](Connection& c) {
       c.Send(
           "HTTP/1.1 200 OK\r\nContent-Type: application/x-turso-vfs\r\nContent-Length: "
           "100\r\n\r\nTVP1");
       c.Reset();
     },
     Code::kUnavailable, Code::kOutcomeUnknown, ""},
    {"MessageCutShort",
     [](Connection& c) {
       std::string body = GoodAnswer();
       c.Answer(body.substr(0, body.size() - 9), kMessageType);
     },
     Code::kCorrupt, Code::kOutcomeUnknown, kMessageType},
    {"FlippedBit",
     [](Connection& c) {
       std::string body = GoodAnswer();
       body[12] ^= 1;
       c.Answer(body, kMessageType);
     },
     Code::kCorrupt, Code::kOutcomeUnknown, "checksum"},
    {"EmptyAnswer", [](Connection& c) { c.Answer("", kMessageType); }, Code::kCorrupt,
     Code::kOutcomeUnknown, kMessageType},
    {"Html", [](Connection& c) { c.Answer("<html>Welcome", "text/html; charset=utf-8"); },
     Code::kCorrupt, Code::kOutcomeUnknown, "text/html"},
    {"NotThere", [](Connection& c) { c.Answer("<html>404", "text/html", 404); }, Code::kUnavailable,
     Code::kUnavailable, "no turso-primary there"},
    {"Redirect",
     [](Connection& c) {
       c.Answer("", "text/html", 302, "Location: https://elsewhere.invalid/app?authToken=x\r\n");
     },
     Code::kUnavailable, Code::kUnavailable, "redirect to https://elsewhere.invalid/app;"},
    {"Unauthorized", [](Connection& c) { c.Answer("", "text/plain", 401); }, Code::kDenied,
     Code::kDenied, "token"},
    {"Forbidden", [](Connection& c) { c.Answer("", "text/plain", 403); }, Code::kDenied,
     Code::kDenied, "not allowed"},
    {"TooManyRequests",
     [](Connection& c) { c.Answer("", "text/plain", 429, "Retry-After: 60\r\n"); },
     Code::kUnavailable, Code::kUnavailable, "in 60 s"},
    {"Overloaded", [](Connection& c) { c.Answer("", "text/plain", 503, "Retry-After: 60\r\n"); },
     Code::kUnavailable, Code::kOutcomeUnknown, "in 60 s"},
    {"BadGateway", [](Connection& c) { c.Answer("<html>502", "text/html", 502); },
     Code::kUnavailable, Code::kOutcomeUnknown, "502"},
    {"Teapot", [](Connection& c) { c.Answer("", "text/plain", 418); }, Code::kCorrupt,
     Code::kCorrupt, "418"},
};
INSTANTIATE_TEST_SUITE_P(All, PrimaryRemoteTrouble, ::testing::ValuesIn(kTroubles),
                         [](const auto& p) { return p.param.name; });

TEST_F(PrimaryRemoteTest, AsksAgainWhenItWasToldTo) {
  Start(4);
  call_.timeout = seconds(3);
  for (int status : {429, 503}) {
    for (const AnyCall& any : kCalls) {
      const std::string name = any.name;
      if (name == "renew" || (status == 503 && name == "commit")) continue;
      SCOPED_TRACE(name + " " + std::to_string(status));
      Once(name, [=](Connection& c) { c.Answer("", "text/plain", status, "Retry-After: 1\r\n"); });
      const Instant begin = Instant::Now();
      Status asked = any.act(remote_.get(), OneCommit(), call_);
      EXPECT_TRUE(asked.ok() || asked.code() == Code::kConflict) << asked.text();
      EXPECT_THAT(asked.text(), Not(HasSubstr("HTTP status")));
      EXPECT_GE(Instant::Now() - begin, seconds(1));
    }
  }
}

TEST_F(PrimaryRemoteTest, StopsWaitingToAskAgainWhenItIsInterrupted) {
  Start(4);
  call_.timeout = seconds(60);
  Once("commit", [](Connection& c) { c.Answer("", "text/plain", 429, "Retry-After: 30\r\n"); });
  const Instant begin = Instant::Now();
  call_.interrupted = [&] { return Instant::Now() - begin > milliseconds(100); };
  EXPECT_EQ(CommitOnce().code(), Code::kInterrupted);
  EXPECT_LT(Instant::Now() - begin, seconds(10));
}

TEST_F(PrimaryRemoteTest, TellsTheErrorsOfThePrimaryInItsOwnWords) {
  const std::tuple<const char*, int, Code> errors[] = {{"denied", 401, Code::kDenied},
                                                       {"read_only", 403, Code::kReadOnly},
                                                       {"not_found", 404, Code::kNotFound},
                                                       {"conflict", 409, Code::kConflict},
                                                       {"busy", 409, Code::kBusy},
                                                       {"invalid", 400, Code::kInvalid},
                                                       {"full", 507, Code::kFull},
                                                       {"unavailable", 503, Code::kUnavailable},
                                                       {"from_the_future", 418, Code::kInvalid}};
  Start(4);
  for (const auto& [error, http_status, code] : errors) {
    for (const AnyCall& any : kCalls) {
      if (std::string(any.name) == "renew") continue;
      json head = {{"error", error}, {"message", "so it is: été\x1b[31m"}};
      std::string body = MessageWriter(head, PageCodec::kRaw).Finish();
      server_->set_intercept([&, s = http_status](Connection& c, const std::string&, auto&) {
        c.Answer(body, kMessageType, s);
        return true;
      });
      Status status = any.act(remote_.get(), OneCommit(), call_);
      EXPECT_EQ(status.code(), code) << any.name << " " << error << ": " << status.text();
      EXPECT_THAT(status.text(), HasSubstr("so it is: été?[31m"));
      EXPECT_THAT(status.text(), HasSubstr(server_->url()));
    }
  }
}

TEST_F(PrimaryRemoteTest, ACommitIsUnknownWhenThePrimarySaysSoOrSaysWhatIsNotKnown) {
  Start(4);
  for (const char* error : {"outcome_unknown", "disk_on_fire"}) {
    json head = {{"error", error}, {"message", "so it is"}};
    std::string body = MessageWriter(head, PageCodec::kRaw).Finish();
    Once("commit", [=](Connection& c) { c.Answer(body, kMessageType, 500); });
    Status status = CommitOnce();
    EXPECT_EQ(status.code(), Code::kOutcomeUnknown);
    EXPECT_THAT(status.text(), HasSubstr("so it is"));
  }
}

TEST_F(PrimaryRemoteTest, SaysThatThereIsNoServer) {
  PrimaryRemote remote({"http://127.0.0.1:" + std::to_string(UnusedPort()) + "/app", "", "", {}});
  for (const AnyCall& any : kCalls) {
    PageSet pages(4096);
    pages.set_db_size(1);
    Transaction transaction{{}, *Revision::Parse("x-1"), 0, &pages};
    Status status = any.act(&remote, transaction, call_);
    EXPECT_EQ(status.code(), Code::kUnavailable) << any.name;
    EXPECT_THAT(status.text(), HasSubstr("Connection refused"));
  }
}

TEST_F(PrimaryRemoteTest, ACommitWhoseAnswerIsLostIsUnknownAndCanBeSettled) {
  Start(4);
  server_->set_intercept([&](Connection& c, const std::string& call, const ScriptedRequest& r) {
    if (call != "commit") return false;
    int status = 0;
    server_->Serve(call, r, &status);
    c.Reset();
    return true;
  });
  ASSERT_TRUE(remote_->Identify(call_).ok());
  Revision before = primary_->revision();
  EXPECT_EQ(CommitOnce(7).code(), Code::kOutcomeUnknown);
  EXPECT_NE(primary_->revision(), before);
  EXPECT_EQ(primary_->commits(), 1);
  Result<SettleAnswer> settled = remote_->Settle({{9, 7}, 1}, call_);
  ASSERT_TRUE(settled.ok()) << settled.status().text();
  EXPECT_EQ(settled->outcome, SettleOutcome::kCommitted);
  EXPECT_EQ(settled->revision, primary_->revision());
}

TEST_F(PrimaryRemoteTest, ACommitInterruptedWhileItIsSentIsUnknown) {
  Start(4);
  Once("commit", [](Connection& c) { c.WaitForClose(); });
  std::atomic<bool> interrupted{false};
  call_.timeout = seconds(30);
  call_.interrupted = [&] { return interrupted.load(); };
  Status status;
  std::thread committing([&] { status = CommitOnce(); });
  ASSERT_TRUE(server_->server().WaitForRequests(1));
  Instant begin = Instant::Now();
  interrupted = true;
  committing.join();
  EXPECT_LT(Instant::Now() - begin, milliseconds(200));
  EXPECT_EQ(status.code(), Code::kOutcomeUnknown);
  EXPECT_TRUE(server_->server().WaitForCloses(1));
}

TEST_F(PrimaryRemoteTest, ACommitInterruptedBeforeItIsSentIsInterrupted) {
  Start(4);
  call_.interrupted = [] { return true; };
  EXPECT_EQ(CommitOnce().code(), Code::kInterrupted);
  EXPECT_TRUE(server_->server().requests().empty());
}

TEST_F(PrimaryRemoteTest, CancelEndsALongPollAtOnceAndThePrimarySeesIt) {
  Start(4);
  Once("pull", [](Connection& c) { c.WaitForClose(); });
  std::atomic<bool> cancelled{false};
  call_.cancelled = &cancelled;
  Status status;
  std::thread polling(
      [&] { status = remote_->Pull(primary_->revision(), seconds(60), &copy_, call_).status(); });
  ASSERT_TRUE(server_->server().WaitForRequests(1));
  Instant begin = Instant::Now();
  cancelled = true;
  remote_->Cancel();
  polling.join();
  EXPECT_LT(Instant::Now() - begin, milliseconds(100));
  EXPECT_EQ(status.code(), Code::kInterrupted);
  EXPECT_TRUE(server_->server().WaitForCloses(1));
}

TEST_F(PrimaryRemoteTest, GivesBackALeaseWhosePagesTheSinkRefuses) {
  Start(4);
  Revision base = primary_->revision();
  primary_->WriteFile(DatabaseOf(5));
  struct Sink : RemoteCopy {
    Status Page(PageNo, ByteView) override { return Status(Code::kIo, "disk"); }
  } sink;
  EXPECT_EQ(remote_->AcquireLease({{1}, base, {}}, &sink, call_).status().code(), Code::kIo);
  EXPECT_TRUE(remote_->AcquireLease({{2}, base, {}}, nullptr, call_).ok());
}

class TokenFile {
 public:
  TokenFile() {
    std::snprintf(path_, sizeof path_, "/tmp/turso-token-XXXXXX");
    close(mkstemp(path_));
  }
  ~TokenFile() { unlink(path_); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  const char* path() const { return path_; }

 private:
  char path_[64];
};

TEST_F(PrimaryRemoteTest, ReadsTheTokenFileAgainAfterA401) {
  Start(4, 500, "first");
  TokenFile file;
  file.Write("  first\n");
  Connect("ignored", file.path());
  ASSERT_TRUE(remote_->Identify(call_).ok());
  server_->set_token("second");
  file.Write("second\n");
  EXPECT_TRUE(CommitOnce().ok());
  EXPECT_EQ(primary_->commits(), 1);
  EXPECT_EQ(remote_->traffic().round_trips, 3u);
}

TEST_F(PrimaryRemoteTest, IsDeniedWhenTheTokenFileHasNoOtherToken) {
  Start(4, 500, "right");
  TokenFile file;
  file.Write("wr0ng");
  Connect("", file.path());
  Status status = remote_->Identify(call_).status();
  EXPECT_EQ(status.code(), Code::kDenied);
  EXPECT_THAT(status.text(), Not(HasSubstr("wr0ng")));
  EXPECT_EQ(server_->server().requests().size(), 1u);
}

TEST_F(PrimaryRemoteTest, NamesATokenFileThatIsNoUse) {
  Start(4, 500, "right");
  Connect("", "/nonexistent/token");
  Status status = remote_->Identify(call_).status();
  EXPECT_EQ(status.code(), Code::kDenied);
  EXPECT_THAT(status.text(), HasSubstr("/nonexistent/token"));
  TokenFile file;
  for (const std::string& text : {std::string("\n"), std::string("two tokens\n"),
                                  std::string(100000, 'x'), std::string("two\nlines\n")}) {
    file.Write(text);
    Connect("", file.path());
    status = remote_->Identify(call_).status();
    EXPECT_EQ(status.code(), Code::kDenied);
    EXPECT_THAT(status.text(), HasSubstr(file.path()));
  }
  EXPECT_TRUE(server_->server().requests().empty());
}

TEST_F(PrimaryRemoteTest, RefusesAnotherVersionOfTheProtocol) {
  Start(4);
  server_->set_edit([](const std::string&, json* head) { (*head)["protocol_version"] = 2; });
  Status status = remote_->Identify(call_).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.text(), HasSubstr("version 2"));
}

TEST_F(PrimaryRemoteTest, CountsExchangesAndBytes) {
  Start(4);
  RemoteCopy copy;
  ASSERT_TRUE(remote_->Pull({}, {}, &copy, call_).ok());
  uint64_t received = remote_->traffic().bytes_received;
  EXPECT_GE(received, 4u * 4096);
  EXPECT_LT(received, 4u * 4096 + 1024);
  ASSERT_TRUE(CommitOnce().ok());
  uint64_t sent = 0;
  for (const ScriptedRequest& request : server_->server().requests()) sent += request.bytes;
  EXPECT_EQ(remote_->traffic().bytes_sent, sent);
  EXPECT_EQ(remote_->traffic().round_trips, 2u);
}

}  // namespace
}  // namespace turso
