// A replica that answers what a test tells it to, and remembers what it was asked.

#ifndef TURSO_TESTS_SUPPORT_FAKE_REPLICA_H_
#define TURSO_TESTS_SUPPORT_FAKE_REPLICA_H_

#include <optional>
#include <string>

#include "src/replica/replica.h"

namespace turso {

class FakeReplica : public Replica {
 public:
  static Revision Named(const char* text) { return *Revision::Parse(text); }

  Result<Revision> sync = Named("synced");
  Result<Revision> current = Named("current");
  Result<Revision> at_position = Named("at-position");
  Result<bool> wait = true;
  std::optional<Duration> lag;
  std::optional<std::string> last_error;
  ReplicaStatus answer_status;
  bool bounded = false;
  Status fresh, enter, commit, restart;

  std::optional<WalPosition> asked_position;
  Revision waited_for;
  Duration waited_timeout{};

  void Start() override {}
  void Stop() override {}
  Result<Revision> Sync(const Interrupted&) override { return sync; }
  Result<Revision> CurrentRevision() override { return current; }
  Result<Revision> RevisionAt(const WalPosition& position) override {
    asked_position = position;
    return at_position;
  }
  Result<bool> WaitFor(const Revision& revision, Duration timeout, const Interrupted&) override {
    waited_for = revision;
    waited_timeout = timeout;
    return wait;
  }
  std::optional<Duration> Lag() override { return lag; }
  std::optional<std::string> LastError() override { return last_error; }
  ReplicaStatus status() override { return answer_status; }
  void Refused(const Status&) override {}
  bool has_staleness_bound() const override { return bounded; }
  Status BeforeRead(const Interrupted&) override { return fresh; }
  void AbandonAfterFork() override {}

  Status Enter(WalFiles*, HasRead, const Interrupted&) override { return enter; }
  Status Commit(WalFiles*, const PageSet&, const FramePlan&, const Interrupted&) override {
    return commit;
  }
  void Leave(WalFiles*) override {}
  Status BeforeRestart(WalFiles*) override { return restart; }
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_FAKE_REPLICA_H_
