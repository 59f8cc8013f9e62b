// Deaths inside an Apply(), at every call of the files and at every change of page of the
// wal-index: whoever lives on, or comes after, has the old state or the new one (A4).

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "src/wal/apply.h"
#include "tests/support/child.h"
#include "tests/support/connection.h"
#include "tests/support/host_wal_files.h"
#include "tests/support/page_source.h"
#include "tests/support/scripted_wal_files.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wal_scan.h"

namespace turso {
namespace {

constexpr int kDied = 77;
constexpr int kTornBytes = 4096;

// Dies at the n-th store into the wal-index that goes to another page of memory than the store
// before it: page number, hash slot, page number..., header. The blocks are read-only, and a fault
// opens one page of them.
class DeathInStores {
 public:
  static void Arm(int n) {
    left_ = n;
    block_count_ = 0;
    struct sigaction action {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigaction(SIGSEGV, &action, nullptr);
  }
  static void Watch(volatile uint8_t* block) {
    blocks_[block_count_++] = const_cast<uint8_t*>(block);
    ::mprotect(blocks_[block_count_ - 1], kWalIndexBlockBytes, PROT_READ);
  }

 private:
  static void OnFault(int, siginfo_t* info, void*) {
    uint8_t* at = static_cast<uint8_t*>(info->si_addr);
    for (int i = 0; i < block_count_; ++i) {
      if (at < blocks_[i] || at >= blocks_[i] + kWalIndexBlockBytes) continue;
      if (--left_ == 0) ::_exit(kDied);
      for (int k = 0; k < block_count_; ++k) ::mprotect(blocks_[k], kWalIndexBlockBytes, PROT_READ);
      ::mprotect(at - reinterpret_cast<uintptr_t>(at) % kTornBytes, kTornBytes,
                 PROT_READ | PROT_WRITE);
      return;
    }
    ::_exit(kChildFailed);
  }

  static inline int left_ = 0;
  static inline int block_count_ = 0;
  static inline uint8_t* blocks_[16] = {};
};

struct Scenario {
  const char* name;
  uint32_t page_size;
  // Makes what the apply finds, with a reader open all the time.
  std::function<void(Connection*)> prepare;
  // What the transaction to apply does at its source.
  const char* change;
  // The deaths among the stores to try: the first `dense`, then every `stride`-th.
  int dense;
  int stride;
};
void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

void Checkpoint(Connection* db, const char* mode) {
  db->Int("SELECT txn FROM meta");
  EXPECT_EQ(db->Text(std::string("PRAGMA wal_checkpoint(") + mode + ")"), "0");
}

constexpr char kSmallChange[] =
    "BEGIN; UPDATE t SET pad=randomblob(1500) WHERE id%3=0; UPDATE meta SET txn=txn+1; COMMIT";
constexpr char kShrinkingChange[] =
    "BEGIN; DELETE FROM t WHERE id%4<3; UPDATE meta SET txn=txn+1,n=(SELECT count(*) FROM t),"
    "s=(SELECT sum(v) FROM t); PRAGMA incremental_vacuum; COMMIT";
constexpr char kChangeOverBlocks[] =
    "BEGIN; UPDATE t SET pad=randomblob(28000); UPDATE meta SET txn=txn+1; COMMIT";

const Scenario kScenarios[] = {
    {"Append", 1024, [](Connection*) {}, kSmallChange, 16, 9},
    {"NewLog", 1024, [](Connection* db) { Checkpoint(db, "TRUNCATE"); }, kSmallChange, 16, 9},
    {"Restart", 1024, [](Connection* db) { Checkpoint(db, "PASSIVE"); }, kSmallChange, 16, 9},
    {"Shrink", 4096, [](Connection* db) { Checkpoint(db, "PASSIVE"); }, kShrinkingChange, 10, 3},
    {"TwoBlocks", 512, [](Connection*) {}, kChangeOverBlocks, 6, 1500},
};

// One process keeps a reader open (or none does), another dies in Apply(), and then somebody looks.
class Death : public ::testing::TestWithParam<Scenario> {
 protected:
  enum class Survivor { kNone, kReader };

  void SetUp() override {
    const uint64_t seed = TestSeed();
    ASSERT_EQ(RunInChild([&] { return MakeTemplates(seed); }), 0);
  }

  std::string path() const { return dir_.File("replica.db"); }

  // A source in two states, before.db and after.db, and a replica that has the first one partly in
  // its log.
  int MakeTemplates(uint64_t seed) {
    Rng rng(seed);
    PageSource source(dir_.File("source.db"), GetParam().page_size);
    CopyDatabase(dir_.File("source.db"), dir_.File("template.db"));
    for (int64_t txn = 1; txn <= 6; ++txn) RunTransaction(source.db(), &rng, txn, Bulk::kSmall);
    source.db()->Run("INSERT INTO t(v,pad) SELECT v,pad FROM t; DELETE FROM t WHERE id>100");
    source.db()->Run("UPDATE meta SET n=(SELECT count(*) FROM t), s=(SELECT sum(v) FROM t)");
    source.Checkpoint();
    CopyDatabase(dir_.File("source.db"), dir_.File("before.db"));
    source.db()->Run(GetParam().change);
    source.Checkpoint();
    CopyDatabase(dir_.File("source.db"), dir_.File("after.db"));
    return 0;
  }

  static PageSet Pages(const Bytes& before, const Bytes& after, uint32_t page_size) {
    PageSet pages(page_size);
    for (size_t at = 0; at < after.size(); at += page_size) {
      if (at + page_size <= before.size() &&
          std::equal(after.begin() + static_cast<ptrdiff_t>(at),
                     after.begin() + static_cast<ptrdiff_t>(at + page_size),
                     before.begin() + static_cast<ptrdiff_t>(at)))
        continue;
      pages.Put({static_cast<uint32_t>(at / page_size + 1)}, &after[at]);
    }
    pages.set_db_size(static_cast<uint32_t>(after.size() / page_size));
    return pages;
  }
  PageSet PagesFrom(const char* before, const char* after) const {
    return Pages(before ? ReadWholeFile(dir_.File(before)) : Bytes(),
                 ReadWholeFile(dir_.File(after)), GetParam().page_size);
  }

  // The replica in the state before, as the scenario wants it. The reader stays open.
  std::unique_ptr<Connection> Prepare() {
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path() + end);
    CopyDatabase(dir_.File("template.db"), path());
    auto reader = std::make_unique<Connection>(path());
    reader->Run("PRAGMA wal_autocheckpoint=0");
    reader->Int("SELECT txn FROM meta");
    auto files = std::move(*HostWalFiles::Open(path()));
    EXPECT_TRUE(
        ApplyLocked(files.get(), PagesFrom("template.db", "before.db"), {Sync::kNo, {}, {}}).ok());
    GetParam().prepare(reader.get());
    return reader;
  }

  // What the one that dies does, with the means of its death.
  int ApplyAndDie(const std::function<void(ScriptedWalFiles*)>& arm) {
    auto files = std::move(*HostWalFiles::Open(path()));
    const PageSet pages = PagesFrom("before.db", "after.db");
    if (!CurrentHeader(files.get()).ok()) return kChildFailed;
    // The last one to leave would checkpoint.
    if (!*files->TryLock(WalLock::kWrite, 1)) return kChildFailed;
    ScriptedWalFiles scripted(files.get());
    arm(&scripted);
    const Result<WalIndexHeader> header = Apply(&scripted, pages, {Sync::kYes, {}, {}});
    ::_exit(header.ok() ? 0 : kChildFailed);
  }

  // The state is the one before or the one after; the apply works in the end, and so do native
  // writers.
  void ExpectOldOrNew(Connection* reader, bool native_first) {
    const Bytes before = ReadWholeFile(dir_.File("before.db"));
    const Bytes after = ReadWholeFile(dir_.File("after.db"));
    const Bytes now = reader->Image();
    EXPECT_TRUE(now == before || now == after);
    int64_t txn = 0;
    EXPECT_EQ(CheckWorkload(reader, &txn), "");
    EXPECT_EQ(reader->Text("PRAGMA integrity_check"), "ok");
    seen_new_ = now == after;

    PageSet pages = PagesFrom("before.db", "after.db");
    if (native_first) {
      Connection writer(path());
      writer.Run("PRAGMA cache_size=1; PRAGMA wal_autocheckpoint=0");
      writer.Run("UPDATE t SET pad=randomblob(100); UPDATE meta SET txn=12345");
      EXPECT_EQ(reader->Int("SELECT txn FROM meta"), 12345);
      EXPECT_EQ(reader->Text("PRAGMA integrity_check"), "ok");
      pages = PagesFrom(nullptr, "after.db");
    }
    auto files = std::move(*HostWalFiles::Open(path()));
    const Result<WalIndexHeader> applied = ApplyLocked(files.get(), pages, {Sync::kNo, {}, {}});
    EXPECT_TRUE(applied.ok()) << applied.status().text();
    EXPECT_EQ(reader->Image(), after);
    reader->Run("UPDATE t SET v=v+1; UPDATE meta SET s=(SELECT sum(v) FROM t)");
    EXPECT_EQ(reader->Text("PRAGMA integrity_check"), "ok");
    Checkpoint(reader, "TRUNCATE");
    EXPECT_EQ(CheckWorkload(reader, &txn), "");
  }

  // How the n-th death ended: kDied, or 0 when Apply() was through before it.
  int DieOnce(Survivor survivor, bool native_first,
              const std::function<void(ScriptedWalFiles*)>& arm) {
    Signal prepared;
    Signal died;
    const pid_t witness = Fork([&] {
      std::unique_ptr<Connection> reader = Prepare();
      prepared.Raise();
      died.Await();
      if (survivor == Survivor::kNone) {
        // As if killed with the other: whoever comes next must recover.
        ::_exit(::testing::Test::HasFailure() ? kChildFailed : 0);
      }
      ExpectOldOrNew(reader.get(), native_first);
      return seen_new_ ? 1 : 0;
    });
    prepared.Await();
    const int end = RunInChild([&] { return ApplyAndDie(arm); });
    died.Raise();
    int state = Wait(witness);
    if (survivor == Survivor::kNone && state == 0) {
      state = RunInChild([&] {
        Connection reader(path());
        reader.Run("PRAGMA wal_autocheckpoint=0");
        ExpectOldOrNew(&reader, native_first);
        return seen_new_ ? 1 : 0;
      });
    }
    EXPECT_TRUE(state == 0 || state == 1) << "the survivor ended with " << state;
    EXPECT_TRUE(end == kDied || end == 0) << "the one to die ended with " << end;
    EXPECT_TRUE(end != 0 || state == 1) << "an apply that went through is not seen";
    (state == 1 ? new_ : old_) += 1;
    return end;
  }

  void DieEverywhere(Survivor survivor, int dense, int stride,
                     const std::function<std::function<void(ScriptedWalFiles*)>(int n)>& nth) {
    int deaths = 0;
    for (int n = 1;; n += n < dense ? 1 : stride) {
      SCOPED_TRACE("death " + std::to_string(n));
      if (DieOnce(survivor, n % 2 == 0, nth(n)) != kDied || HasFailure()) break;
      ++deaths;
    }
    EXPECT_GE(deaths, 4);
    EXPECT_GE(new_, 1);
    std::printf("%d deaths: %d times the old state, %d times the new one\n", deaths, old_, new_);
  }

  TempDir dir_;
  bool seen_new_ = false;
  int old_ = 0;
  int new_ = 0;
};

std::function<void(ScriptedWalFiles*)> InCall(int n) {
  return [n](ScriptedWalFiles* files) {
    files->on_call = [left = n](const std::string&) mutable {
      if (--left == 0) ::_exit(kDied);
      return OkStatus();
    };
  };
}

std::function<void(ScriptedWalFiles*)> InStore(int n) {
  return [n](ScriptedWalFiles* files) {
    DeathInStores::Arm(n);
    files->on_map = DeathInStores::Watch;
  };
}

TEST_P(Death, InAnyCallLeavesAReaderTheOldStateOrTheNew) {
  DieEverywhere(Survivor::kReader, 20, 4, InCall);
}
TEST_P(Death, InAnyCallIsRecoveredToTheOldStateOrTheNew) {
  DieEverywhere(Survivor::kNone, 20, 4, InCall);
}
TEST_P(Death, InTheWalIndexLeavesAReaderTheOldStateOrTheNew) {
  DieEverywhere(Survivor::kReader, GetParam().dense, GetParam().stride, InStore);
}
TEST_P(Death, InTheWalIndexIsRecoveredToTheOldStateOrTheNew) {
  DieEverywhere(Survivor::kNone, GetParam().dense, GetParam().stride, InStore);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, Death, ::testing::ValuesIn(kScenarios),
                         [](const auto& scenario) { return scenario.param.name; });

}  // namespace
}  // namespace turso
