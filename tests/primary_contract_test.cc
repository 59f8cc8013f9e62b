// The seam to the primary, against a turso-primary in this process.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "src/primary/server.h"
#include "tests/remote_contract.h"
#include "tests/support/temp_dir.h"

namespace turso {
namespace {

class PrimaryFixture : public RemoteFixture {
 public:
  PrimaryFixture() {
    ServerOptions options;
    options.directory = directory_.path().string();
    options.on_missing = OnMissing::kCreate;
    Result<std::unique_ptr<Server>> server = Server::Start(std::move(options));
    EXPECT_TRUE(server.ok()) << server.status().text();
    if (server.ok()) server_ = std::move(*server);
  }
  ~PrimaryFixture() override {
    if (server_) {
      EXPECT_EQ(server_->Stop().text(), "");
    }
  }

  std::unique_ptr<Remote> Connect() override {
    Endpoint endpoint;
    endpoint.url = server_->url() + "/contract";
    Result<std::unique_ptr<Remote>> remote = OpenRemote(endpoint);
    EXPECT_TRUE(remote.ok()) << remote.status().text();
    return remote.ok() ? std::move(*remote) : nullptr;
  }
  std::string File(const std::string& name) const { return directory_.File(name); }

 private:
  TempDir directory_;
  std::unique_ptr<Server> server_;
};

INSTANTIATE_TEST_SUITE_P(Primary, RemoteContract,
                         ::testing::Values(RemoteContractParam{
                             "primary", [] { return std::make_unique<PrimaryFixture>(); }}));

TEST(PrimaryServer, SendsANewDatabaseAsTheFileHasIt) {
  PrimaryFixture primary;
  std::unique_ptr<Remote> remote = primary.Connect();
  RemoteCopy copy;
  Result<Revision> revision = remote->Pull({}, Duration::zero(), &copy, {});
  ASSERT_TRUE(revision.ok()) << revision.status().text();
  ASSERT_EQ(copy.db_size(), 1u);
  std::ifstream file(primary.File("contract.db"), std::ios::binary);
  Bytes bytes(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(bytes, copy.page(1));
}

}  // namespace
}  // namespace turso
