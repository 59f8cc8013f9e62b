// While it lives, all Remotes that the process opens are FakeRemotes to one FakePrimary.

#ifndef TURSO_TESTS_SUPPORT_FAKE_WORLD_H_
#define TURSO_TESTS_SUPPORT_FAKE_WORLD_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "src/replica/sidecar.h"
#include "tests/support/fake_remote.h"

namespace turso {

class FakeWorld {
 public:
  FakeWorld() : primary_(std::make_shared<FakePrimary>(FakePrimary::EmptyDatabase())) {
    SetRemoteOpener([this](const Endpoint&) -> Result<std::unique_ptr<Remote>> {
      auto remote = std::make_unique<FakeRemote>(primary_);
      if (disconnected_) remote->Disconnect();
      remotes_.push_back(remote.get());
      return std::unique_ptr<Remote>(std::move(remote));
    });
  }
  ~FakeWorld() { SetRemoteOpener(nullptr); }

  FakePrimary& primary() { return *primary_; }
  // The remotes of the replica that was opened last: for questions, for writes, for its follower,
  // for its lease.
  FakeRemote& asker() { return *remotes_.at(remotes_.size() - 4); }
  FakeRemote& caller() { return *remotes_.at(remotes_.size() - 3); }
  void Disconnect() {
    disconnected_ = true;
    for (size_t i = remotes_.size() - 4; i < remotes_.size(); i++) remotes_[i]->Disconnect();
  }
  void Reconnect() {
    disconnected_ = false;
    for (size_t i = remotes_.size() - 4; i < remotes_.size(); i++) remotes_[i]->Reconnect();
  }
  // The primary knows a later number of this replica's, from a copy of it.
  void CopyHasCommitted(const SidecarRecord& record) {
    FakeRemote copy(primary_);
    const uint64_t later = record.last_commit_number + (uint64_t{9} << 32);
    EXPECT_TRUE(copy.Settle({record.replica_id, later}, Call{}).ok());
  }
  int CallsOf(const std::string& name) {
    int count = 0;
    for (size_t i = remotes_.size() - 4; i < remotes_.size(); i++) {
      std::vector<std::string> calls = remotes_[i]->calls();
      count += static_cast<int>(std::count(calls.begin(), calls.end(), name));
    }
    return count;
  }

 private:
  std::shared_ptr<FakePrimary> primary_;
  std::vector<FakeRemote*> remotes_;
  bool disconnected_ = false;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_FAKE_WORLD_H_
