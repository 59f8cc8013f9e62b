#include "src/replica/sidecar.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "src/replica/sidecar_format.h"
#include "tests/support/child.h"
#include "tests/support/seed.h"
#include "tests/support/temp_dir.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace turso {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Revision Rev(const std::string& text) { return *Revision::Parse(text); }

SidecarRecord FullRecord() {
  SidecarRecord record;
  record.url = "http://127.0.0.1:8080/" + std::string(1002, 'u');
  record.database_id = std::string(128, 'd');
  record.protocol = std::string(32, 'p');
  for (size_t i = 0; i < 16; i++) record.replica_id[i] = static_cast<uint8_t>(i * 17);
  record.last_commit_number = 0x0123456789abcdef;
  record.page_size = 65536;
  record.durable = Rev(std::string(63, '~'));
  record.current = Rev("0123456789abcdef-77");
  record.current_position = {{1, 2, 3, 4, 5, 6, 7, 8}, 0x99887766, {0x11223344, 0x55667788}};
  record.current_in_database = true;
  record.own_cookie = true;
  record.content_digest = 0x1020304050607080;
  record.intent.content_digest = 0x8070605040302010;
  record.converged = *Revision::Parse("aaaaaaaaaaaaaaaa-9");
  record.converged_salts = {9, 8, 7, 6, 5, 4, 3, 2};
  record.converged_frame = FrameNo{77};
  record.intent.kind = IntentKind::kCommitted;
  record.intent.frames = {{8, 7, 6, 5, 4, 3, 2, 1}, {0xfffffffe}, {0xffffffff}};
  record.intent.page_set_hash = 0xfedcba9876543210;
  record.intent.target = Rev("t");
  record.intent.base = Rev("b-1");
  record.intent.commit_number = 42;
  return record;
}

void ExpectSame(const SidecarRecord& a, const SidecarRecord& b) {
  EXPECT_EQ(a.url, b.url);
  EXPECT_EQ(a.database_id, b.database_id);
  EXPECT_EQ(a.protocol, b.protocol);
  EXPECT_EQ(a.replica_id, b.replica_id);
  EXPECT_EQ(a.last_commit_number, b.last_commit_number);
  EXPECT_EQ(a.page_size, b.page_size);
  EXPECT_EQ(a.durable, b.durable);
  EXPECT_EQ(a.current, b.current);
  EXPECT_EQ(a.content_digest, b.content_digest);
  EXPECT_EQ(a.intent.content_digest, b.intent.content_digest);
  EXPECT_EQ(a.converged, b.converged);
  EXPECT_EQ(a.converged_salts, b.converged_salts);
  EXPECT_EQ(a.converged_frame, b.converged_frame);
  EXPECT_EQ(a.current_position, b.current_position);
  EXPECT_EQ(a.current_in_database, b.current_in_database);
  EXPECT_EQ(a.own_cookie, b.own_cookie);
  EXPECT_EQ(a.intent.kind, b.intent.kind);
  EXPECT_EQ(a.intent.frames.salts, b.intent.frames.salts);
  EXPECT_EQ(a.intent.frames.base, b.intent.frames.base);
  EXPECT_EQ(a.intent.frames.last, b.intent.frames.last);
  EXPECT_EQ(a.intent.page_set_hash, b.intent.page_set_hash);
  EXPECT_EQ(a.intent.target, b.intent.target);
  EXPECT_EQ(a.intent.base, b.intent.base);
  EXPECT_EQ(a.intent.commit_number, b.intent.commit_number);
}

class SidecarTest : public testing::Test {
 protected:
  SidecarTest()
      : directory_(temp_.path().string()),
        database_(temp_.File("app.db")),
        path_(Sidecar::PathFor(database_)) {}

  void Create(const SidecarRecord& record = FullRecord()) {
    Status status = Sidecar::Create(path_, database_, record);
    ASSERT_TRUE(status.ok()) << status.text();
  }
  std::unique_ptr<Sidecar> Open() {
    Result<std::unique_ptr<Sidecar>> sidecar = Sidecar::Open(path_);
    EXPECT_TRUE(sidecar.ok()) << sidecar.status().text();
    return sidecar.ok() ? std::move(*sidecar) : nullptr;
  }
  Bytes Contents() {
    std::ifstream file(path_, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(file), {});
  }
  void Overwrite(size_t offset, ByteView bytes) {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good());
  }
  void ExpectRefused(const std::string& words) {
    auto opened = Sidecar::Open(path_);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.status().code(), Code::kCorrupt);
    EXPECT_THAT(opened.status().text(), AllOf(HasSubstr(path_), HasSubstr(words)));
    auto peeked = Sidecar::Peek(path_);
    ASSERT_FALSE(peeked.ok());
    EXPECT_EQ(peeked.status().code(), Code::kCorrupt);
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(directory_))
      names.push_back(entry.path().filename());
    return names;
  }

  TempDir temp_;
  std::string directory_, database_, path_;
};

TEST(SidecarSlot, ComesBackAsItWas) {
  SidecarRecord record = FullRecord();
  record.sequence = 0x8000000000000001;
  Bytes slot = EncodeSlot(record);
  ASSERT_EQ(slot.size(), 4096u);
  Result<SidecarRecord> decoded = DecodeSlot(slot);
  ASSERT_TRUE(decoded.ok()) << decoded.status().text();
  EXPECT_EQ(decoded->sequence, record.sequence);
  ExpectSame(*decoded, record);

  SidecarRecord least;
  least.page_size = 512;
  Result<SidecarRecord> empty = DecodeSlot(EncodeSlot(least));
  ASSERT_TRUE(empty.ok());
  ExpectSame(*empty, least);
}

TEST(SidecarSlot, IsRefusedAtEveryOtherLength) {
  Bytes slot = EncodeSlot(FullRecord());
  for (size_t length = 0; length < slot.size(); length++) {
    Result<SidecarRecord> decoded = DecodeSlot(ByteView(slot).first(length));
    ASSERT_FALSE(decoded.ok()) << length;
    ASSERT_EQ(decoded.status().code(), Code::kCorrupt);
  }
  slot.push_back(0);
  EXPECT_FALSE(DecodeSlot(slot).ok());
}

TEST(SidecarSlot, IsRefusedWithAnyBitFlipped) {
  Bytes slot = EncodeSlot(FullRecord());
  for (size_t bit = 0; bit < slot.size() * 8; bit++) {
    slot[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    ASSERT_FALSE(DecodeSlot(slot).ok()) << "bit " << bit;
    slot[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
  EXPECT_TRUE(DecodeSlot(slot).ok());
}

TEST(SidecarSlot, IsRefusedWithSenselessContentsUnderARightChecksum) {
  auto seal = [](Bytes* slot) { StoreBig64(slot->data() + 4088, XXH3_64bits(slot->data(), 4088)); };
  struct Change {
    const char* what;
    size_t offset, length;
    uint8_t byte;
  };
  const Change changes[] = {
      {"no page size", 32, 4, 0},
      {"page size", 32, 4, 3},
      {"page size of no power of two", 34, 1, 3},
      {"intent kind", 37, 1, 4},
      {"durable without end", 128, 64, 'x'},
      {"durable with a blank", 128, 1, ' '},
      {"current", 192, 1, 0x80},
      {"target", 256, 64, 'x'},
      {"base", 320, 2, '\n'},
      {"protocol too long", 384, 33, 'p'},
      {"protocol without end", 384, 64, 'p'},
      {"id too long", 448, 129, 'd'},
      {"url too long", 640, 1025, 'u'},
      {"url without end", 640, 1088, 'u'},
  };
  for (const Change& change : changes) {
    Bytes slot = EncodeSlot(FullRecord());
    std::fill_n(slot.begin() + static_cast<ptrdiff_t>(change.offset), change.length, change.byte);
    seal(&slot);
    EXPECT_EQ(DecodeSlot(slot).status().code(), Code::kCorrupt) << change.what;
  }
}

TEST_F(SidecarTest, IsNamedAfterTheDatabase) {
  EXPECT_EQ(Sidecar::PathFor("a/app.db"), "a/app.db-turso");
}

TEST_F(SidecarTest, HoldsWhatItWasCreatedWithAndNothingElseIsLeft) {
  Create();
  EXPECT_THAT(Names(), testing::ElementsAre("app.db-turso"));
  Result<SidecarRecord> peeked = Sidecar::Peek(path_);
  ASSERT_TRUE(peeked.ok()) << peeked.status().text();
  ExpectSame(*peeked, FullRecord());
  auto sidecar = Open();
  ASSERT_TRUE(sidecar);
  Result<SidecarRecord> read = sidecar->Read();
  ASSERT_TRUE(read.ok());
  ExpectSame(*read, FullRecord());
  EXPECT_EQ(Contents().size(), kSidecarBytes);
}

TEST_F(SidecarTest, IsNeverOverwrittenByAnotherCreate) {
  Create();
  const Bytes before = Contents();
  SidecarRecord other = FullRecord();
  other.url = "http://other/";
  Status status = Sidecar::Create(path_, database_, other);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_THAT(status.text(), HasSubstr(path_));
  EXPECT_EQ(Contents(), before);
  EXPECT_THAT(Names(), testing::ElementsAre("app.db-turso"));
}

TEST_F(SidecarTest, IsNotCreatedWithATextThatDoesNotFit) {
  for (int which = 0; which < 4; which++) {
    SidecarRecord record = FullRecord();
    if (which == 0) record.url += 'u';
    if (which == 1) record.database_id += 'd';
    if (which == 2) record.protocol += 'p';
    if (which == 3) record.url = std::string("a\0b", 3);
    EXPECT_EQ(Sidecar::Create(path_, database_, record).code(), Code::kInvalid);
    EXPECT_TRUE(Names().empty());
  }
}

TEST_F(SidecarTest, IsNotFoundWhereThereIsNone) {
  EXPECT_EQ(Sidecar::Open(path_).status().code(), Code::kNotFound);
  EXPECT_EQ(Sidecar::Peek(path_).status().code(), Code::kNotFound);
  EXPECT_EQ(Sidecar::Create(directory_ + "/none/app.db-turso", database_, FullRecord()).code(),
            Code::kNotFound);
}

TEST_F(SidecarTest, IsRefusedWhenItIsNoRegularFile) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  ExpectRefused("regular");
}

TEST_F(SidecarTest, TakesOwnerAndModeFromTheDatabase) {
  std::ofstream(database_) << "x";
  ASSERT_EQ(::chmod(database_.c_str(), 0620), 0);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(database_.c_str(), 1234, 1235), 0);
  }
  struct stat database, sidecar;
  ASSERT_EQ(::stat(database_.c_str(), &database), 0);
  Create();
  ASSERT_EQ(::stat(path_.c_str(), &sidecar), 0);
  EXPECT_EQ(sidecar.st_mode & 07777u, 0620u);
  EXPECT_EQ(sidecar.st_uid, database.st_uid);
  EXPECT_EQ(sidecar.st_gid, database.st_gid);
}

TEST_F(SidecarTest, IsRefusedAtEveryShorterLength) {
  Create();
  std::vector<uint64_t> lengths = {kSidecarBytes - 1, kSidecarBytes - 4096, kSharedAt + 1,
                                   kSharedAt, kSharedAt - 1};
  for (uint64_t length = 0; length < kSharedAt; length += 509) lengths.push_back(length);
  for (uint64_t length : lengths) {
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(length)), 0);
    ExpectRefused("cut short: it is " + std::to_string(length) + " bytes");
    EXPECT_EQ(std::filesystem::file_size(path_), length);
    std::filesystem::remove(path_);
    Create();
  }
}

TEST_F(SidecarTest, IsRefusedWithAnyByteOfTheHeaderFlipped) {
  Create();
  const Bytes good = EncodeSidecarHeader();
  for (size_t i = 0; i < good.size(); i += i < 64 || i >= 4080 ? 1 : 61) {
    const uint8_t flipped = good[i] ^ 0x20;
    Overwrite(i, {&flipped, 1});
    ASSERT_EQ(Sidecar::Peek(path_).status().code(), Code::kCorrupt) << "byte " << i;
    Overwrite(i, {&good[i], 1});
  }
  EXPECT_TRUE(Sidecar::Peek(path_).ok());
}

TEST_F(SidecarTest, OfAFormatThatWeDoNotReadIsRefusedByName) {
  Create();
  auto header_of = [](uint32_t version, uint32_t oldest_reader) {
    Bytes header = EncodeSidecarHeader();
    StoreBig32(header.data() + 16, version);
    StoreBig32(header.data() + 20, oldest_reader);
    StoreBig64(header.data() + 4088, XXH3_64bits(header.data(), 4088));
    return header;
  };
  Overwrite(0, header_of(77, 3));
  ExpectRefused("version 77");
  Overwrite(0, header_of(0, 0));
  ExpectRefused("version 0");
  Overwrite(0, header_of(77, 2));
  EXPECT_TRUE(Sidecar::Peek(path_).ok());
}

TEST_F(SidecarTest, ShowsEveryProcessTheNewestRecord) {
  Create();
  auto sidecar = Open();
  auto other = Open();
  for (uint64_t i = 1; i <= 20; i++) {
    Result<SidecarRecord> record = (i % 2 ? sidecar : other)->Read();
    ASSERT_TRUE(record.ok());
    record->last_commit_number = i;
    ASSERT_TRUE((i % 2 ? sidecar : other)->Write(&*record, i % 3 ? Sync::kNo : Sync::kYes).ok());
    EXPECT_EQ(record->sequence, i + 1);
    EXPECT_EQ(sidecar->Read()->last_commit_number, i);
    EXPECT_EQ(other->Read()->last_commit_number, i);
    EXPECT_EQ(Sidecar::Peek(path_)->last_commit_number, i);
  }
}

TEST_F(SidecarTest, RefusesToWriteATextThatDoesNotFit) {
  Create();
  auto sidecar = Open();
  const Bytes before = Contents();
  SidecarRecord record = FullRecord();
  record.url += 'u';
  EXPECT_EQ(sidecar->Write(&record, Sync::kNo).code(), Code::kInvalid);
  EXPECT_EQ(Contents(), before);
}

// Whatever the order of synced and unsynced writes, by whichever process: tearing the slot of the
// last write leaves the record before, and losing every unsynced one leaves the last synced.
TEST_F(SidecarTest, LeavesTheRecordBeforeWhenAWriteIsTornAndTheLastSyncedOneAfterAPowerCut) {
  Rng random(TestSeed());
  Create();
  std::unique_ptr<Sidecar> sidecars[2] = {Open(), Open()};
  uint64_t synced = 1;
  for (int round = 0; round < 400; round++) {
    const Bytes before = Contents();
    SidecarRecord record = *sidecars[0]->Read();
    const uint64_t previous = record.sequence;
    const Sync sync = random() % 3 ? Sync::kNo : Sync::kYes;
    ASSERT_TRUE(sidecars[random() % 2]->Write(&record, sync).ok());
    const Bytes after = Contents();

    int changed = -1;
    for (int slot = 0; slot < kSlots; slot++) {
      size_t at = kSlotsAt + static_cast<size_t>(slot) * kSidecarPage;
      if (std::equal(before.begin() + static_cast<ptrdiff_t>(at),
                     before.begin() + static_cast<ptrdiff_t>(at + 4096),
                     after.begin() + static_cast<ptrdiff_t>(at))) {
        continue;
      }
      ASSERT_EQ(changed, -1) << "two slots changed at once";
      changed = slot;
      ASSERT_NE(SlotSequence(ByteView(before).subspan(at, 4096)), synced)
          << "the last synced record is gone";
    }
    ASSERT_NE(changed, -1);

    const size_t at = kSlotsAt + static_cast<size_t>(changed) * kSidecarPage;
    const size_t torn = 1 + random() % 1700;  // The rest of a slot is zeros and its checksum.
    Bytes mixed(after.begin() + static_cast<ptrdiff_t>(at),
                after.begin() + static_cast<ptrdiff_t>(at + 4096));
    std::copy_n(before.begin() + static_cast<ptrdiff_t>(at + torn), 4096 - torn,
                mixed.begin() + static_cast<ptrdiff_t>(torn));
    Overwrite(at, mixed);
    ASSERT_EQ(Sidecar::Peek(path_)->sequence, previous);
    Overwrite(at, ByteView(after).subspan(at, 4096));
    ASSERT_EQ(Sidecar::Peek(path_)->sequence, previous + 1);
    if (sync == Sync::kYes) synced = previous + 1;
  }
}

TEST_F(SidecarTest, WritesOverATornSlotFirst) {
  Create();
  auto sidecar = Open();
  SidecarRecord record = *sidecar->Read();
  ASSERT_TRUE(sidecar->Write(&record, Sync::kYes).ok());  // Sequence 2, in slot 1.
  Overwrite(kSlotsAt + kSidecarPage + 100, Bytes(10, 0xee));
  EXPECT_EQ(sidecar->Read()->sequence, 1u);
  ASSERT_TRUE(sidecar->Write(&record, Sync::kYes).ok());
  EXPECT_EQ(record.sequence, 2u);
  EXPECT_EQ(sidecar->Read()->sequence, 2u);
}

TEST_F(SidecarTest, IsRefusedAndLeftAloneWhenNoSlotIsValid) {
  Create();
  auto sidecar = Open();
  Overwrite(kSlotsAt + 100, Bytes(10, 0xee));
  const Bytes before = Contents();
  ExpectRefused("none of its slots");
  SidecarRecord record = FullRecord();
  EXPECT_EQ(sidecar->Read().status().code(), Code::kCorrupt);
  EXPECT_EQ(sidecar->Write(&record, Sync::kYes).code(), Code::kCorrupt);
  EXPECT_EQ(Contents(), before);
}

TEST_F(SidecarTest, ReadsAWholeRecordWhileAnotherProcessWrites) {
  Create();
  auto sidecar = Open();
  Signal go;
  pid_t writer = Fork([&] {
    auto own = Sidecar::Open(path_);
    if (!own.ok()) return 1;
    SidecarRecord record = *(*own)->Read();
    go.Await();
    for (uint64_t i = 1; i <= 3000; i++) {
      record.last_commit_number = record.intent.commit_number = static_cast<uint64_t>(i);
      if (!(*own)->Write(&record, Sync::kNo).ok()) return 3;
    }
    return 0;
  });
  go.Raise();
  uint64_t seen = 0;
  while (seen < 3000 && !testing::Test::HasFailure()) {
    Result<SidecarRecord> record = sidecar->Read();
    ASSERT_TRUE(record.ok()) << record.status().text();
    if (record->sequence > 1) {
      ASSERT_EQ(record->last_commit_number, record->intent.commit_number);
      ASSERT_GE(record->last_commit_number, seen);
      seen = record->last_commit_number;
    }
  }
  EXPECT_EQ(Wait(writer), 0);
}

WalPosition PositionOf(uint32_t i) { return {{1, 2, 3, 4, 5, 6, 7, 8}, i, {i * 3, i * 5}}; }

TEST_F(SidecarTest, RecallsWhatItRemembersUntilItIsTooOld) {
  Create();
  auto sidecar = Open();
  auto other = Open();
  EXPECT_FALSE(sidecar->Recall(PositionOf(1)).has_value());
  const uint32_t last = 3 * RevisionRing::kEntries + 17;
  for (uint32_t i = 1; i <= last; i++) {
    (i % 2 ? sidecar : other)->Remember(PositionOf(i), Rev("r-" + std::to_string(i)));
  }
  const uint32_t oldest = last - RevisionRing::kEntries + 1;
  for (uint32_t i : {oldest, oldest + 1, last - 1, last}) {
    EXPECT_EQ(sidecar->Recall(PositionOf(i)), Rev("r-" + std::to_string(i)));
    EXPECT_EQ(other->Recall(PositionOf(i)), Rev("r-" + std::to_string(i)));
  }
  EXPECT_FALSE(sidecar->Recall(PositionOf(oldest - 1)).has_value());
  EXPECT_FALSE(sidecar->Recall(PositionOf(last + 1)).has_value());
  WalPosition other_salts = PositionOf(last);
  other_salts.salts[7]++;
  EXPECT_FALSE(sidecar->Recall(other_salts).has_value());
}

TEST_F(SidecarTest, RecallsTheLatestRevisionOfAPosition) {
  Create();
  auto sidecar = Open();
  sidecar->Remember(PositionOf(1), Rev("a"));
  sidecar->Remember(PositionOf(1), Rev("a"));
  EXPECT_EQ(sidecar->shared().ring.count, 1u);
  sidecar->Remember(PositionOf(1), Rev("b"));
  EXPECT_EQ(sidecar->Recall(PositionOf(1)), Rev("b"));
}

TEST_F(SidecarTest, NeverShowsAReaderPartOfAnEntry) {
  Create();
  auto sidecar = Open();
  auto other = Open();
  const uint64_t seed = TestSeed();
  std::atomic<uint32_t> newest{0};
  std::atomic<uint64_t> recalled{0};
  std::atomic<bool> wrong{false};
  const uint32_t last = 6 * RevisionRing::kEntries;
  auto read = [&](const Sidecar& from, uint64_t own_seed) {
    Rng random(own_seed);
    for (uint32_t now = 0; now < last;) {
      now = newest.load(std::memory_order_relaxed);
      // As often at the end that is being overwritten as at the other.
      uint32_t back = static_cast<uint32_t>(random() % 2 ? random() % 8
                                                         : RevisionRing::kEntries - random() % 8);
      uint32_t asked = now > back ? now - back : 1;
      auto revision = from.Recall(PositionOf(asked));
      if (!revision) continue;
      recalled++;
      if (*revision != Rev("r-" + std::to_string(asked))) wrong = true;
    }
  };
  std::thread readers[] = {std::thread(read, std::cref(*sidecar), seed),
                           std::thread(read, std::cref(*other), seed + 1)};
  for (uint32_t i = 1; i <= last; i++) {
    sidecar->Remember(PositionOf(i), Rev("r-" + std::to_string(i)));
    newest.store(i, std::memory_order_relaxed);
    if (i % 64 == 0) std::this_thread::yield();
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
  EXPECT_GT(recalled, 0u);
}

TEST_F(SidecarTest, GoesOnAfterAWriterDiedInTheMiddleOfAnEntry) {
  Create();
  auto sidecar = Open();
  sidecar->Remember(PositionOf(1), Rev("r-1"));
  RevisionRing& ring = sidecar->shared().ring;
  ring.entries[1].turn = 3;  // Begun as number 1, never finished.
  ring.entries[1].position = PositionOf(99);
  EXPECT_EQ(sidecar->Recall(PositionOf(1)), Rev("r-1"));
  sidecar->Remember(PositionOf(2), Rev("r-2"));
  EXPECT_EQ(sidecar->Recall(PositionOf(2)), Rev("r-2"));
  EXPECT_EQ(sidecar->Recall(PositionOf(1)), Rev("r-1"));
}

TEST_F(SidecarTest, StaysWithinItsBoundsWhenTheMappingIsScribbledOver) {  // (S5)
  Rng random(TestSeed());
  Create();
  auto sidecar = Open();
  for (int round = 0; round < 50; round++) {
    auto* bytes = reinterpret_cast<uint8_t*>(&sidecar->shared());
    for (size_t i = 8; i < sizeof(SharedState); i++) bytes[i] = static_cast<uint8_t>(random());
    RevisionRing& ring = sidecar->shared().ring;
    if (round % 2) ring.count = ~uint64_t{0} - 1 - random() % 3;
    // Entries that count as finished, with revisions that are none.
    const uint64_t count = ring.count;
    for (uint64_t number = count - 64; number != count; number++) {
      RevisionRing::Entry& entry = ring.entries[number % RevisionRing::kEntries];
      entry.turn = 2 * number + 2;
      entry.position = PositionOf(static_cast<uint32_t>(number));
      std::memset(reinterpret_cast<uint8_t*>(&entry.revision), round % 3 ? 'x' : ' ',
                  sizeof entry.revision);
      EXPECT_FALSE(sidecar->Recall(PositionOf(static_cast<uint32_t>(number))).has_value());
    }
    sidecar->Remember(PositionOf(1), Rev("r-1"));
    EXPECT_EQ(sidecar->Recall(PositionOf(1)), Rev("r-1"));
    SidecarRecord record = *sidecar->Read();
    EXPECT_TRUE(sidecar->Write(&record, Sync::kYes).ok());
  }
}

TEST_F(SidecarTest, ForgetsTheSharedStateOfAnEarlierBoot) {
  Create();
  {
    auto sidecar = Open();
    sidecar->Remember(PositionOf(1), Rev("r-1"));
    sidecar->shared().last_contact = 77;
  }
  {
    auto sidecar = Open();
    EXPECT_EQ(sidecar->shared().last_contact, 77);
    EXPECT_EQ(sidecar->Recall(PositionOf(1)), Rev("r-1"));
    sidecar->shared().boot = sidecar->shared().boot + 2;
    sidecar->shared().unsettled = 5;
  }
  auto sidecar = Open();
  EXPECT_EQ(sidecar->shared().last_contact, 0);
  EXPECT_EQ(sidecar->shared().unsettled, 0u);
  EXPECT_FALSE(sidecar->Recall(PositionOf(1)).has_value());
}

TEST_F(SidecarTest, IsResetOnceByManyProcessesThatOpenItFirst) {
  constexpr int kProcesses = 6;
  for (int round = 0; round < 10; round++) {
    Create();
    int go[2];
    ASSERT_EQ(::pipe(go), 0);
    pid_t pids[kProcesses];
    for (pid_t& pid : pids) {
      pid = Fork([&] {
        ::close(go[1]);
        char c;
        if (::read(go[0], &c, 1) != 0) return 2;
        auto sidecar = Sidecar::Open(path_);
        if (!sidecar.ok()) return 1;
        (*sidecar)->shared().lease_fence++;
        return 0;
      });
    }
    ::close(go[0]);
    ::close(go[1]);
    for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0);
    EXPECT_EQ(Open()->shared().lease_fence, uint64_t{kProcesses});
    std::filesystem::remove(path_);
  }
}

TEST_F(SidecarTest, ElectsOneAtATimeUntilItResigns) {
  Create();
  auto first = Open();
  auto second = Open();
  EXPECT_EQ(first->Campaign(), Elected::kYes);
  EXPECT_EQ(first->Campaign(), Elected::kYes);
  EXPECT_EQ(second->Campaign(), Elected::kNo);
  second->Resign();
  EXPECT_EQ(second->Campaign(), Elected::kNo);
  first->Resign();
  EXPECT_EQ(second->Campaign(), Elected::kYes);
  second.reset();
  EXPECT_EQ(first->Campaign(), Elected::kYes);
}

TEST_F(SidecarTest, ElectsAnotherProcessWhenTheElectedOneIsKilled) {
  Create();
  auto sidecar = Open();
  Signal ready;
  pid_t child = Fork([&] {
    auto own = Sidecar::Open(path_);
    if (!own.ok() || (*own)->Campaign() != Elected::kYes) return 1;
    ready.Raise();
    for (;;) ::pause();
  });
  ready.Await();
  EXPECT_EQ(sidecar->Campaign(), Elected::kNo);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  EXPECT_EQ(Wait(child), -SIGKILL);
  EXPECT_EQ(sidecar->Campaign(), Elected::kYes);
}

TEST_F(SidecarTest, LeavesTheLockWithTheParentWhenAChildAbandonsIt) {
  Create();
  auto sidecar = Open();
  auto other = Open();
  ASSERT_EQ(sidecar->Campaign(), Elected::kYes);
  EXPECT_EQ(RunInChild([&] {
              sidecar->AbandonAfterFork();
              sidecar->Resign();
              if (sidecar->Campaign() != Elected::kNo) return 1;
              if (sidecar->Read().ok()) return 2;
              SidecarRecord record = FullRecord();
              if (sidecar->Write(&record, Sync::kNo).code() != Code::kInvalid) return 3;
              if (sidecar->StillThere()) return 4;
              sidecar->shared().last_contact.load();  // Still mapped.
              sidecar->AbandonAfterFork();
              sidecar.reset();
              return 0;
            }),
            0);
  EXPECT_EQ(other->Campaign(), Elected::kNo);
  EXPECT_EQ(RunInChild([&] {
              sidecar.reset();  // A child that does not even know.
              return 0;
            }),
            0);
  EXPECT_EQ(other->Campaign(), Elected::kNo);
  EXPECT_TRUE(sidecar->Read().ok());
}

TEST_F(SidecarTest, FreesTheLockWithTheParentAlthoughAChildLivesOn) {
  Create();
  auto sidecar = Open();
  ASSERT_EQ(sidecar->Campaign(), Elected::kYes);
  Signal abandoned, end;
  pid_t child = Fork([&] {
    sidecar->AbandonAfterFork();
    abandoned.Raise();
    end.Await();
    return 0;
  });
  abandoned.Await();
  sidecar.reset();
  EXPECT_EQ(Open()->Campaign(), Elected::kYes);
  end.Raise();
  EXPECT_EQ(Wait(child), 0);
}

TEST_F(SidecarTest, NeverBecomesAStandardStream) {
  EXPECT_EQ(RunInChild([&] {
              ::close(0);
              ::close(1);
              ::close(2);
              if (!Sidecar::Create(path_, database_, FullRecord()).ok()) return 1;
              auto sidecar = Sidecar::Open(path_);
              if (!sidecar.ok()) return 2;
              for (int fd : {0, 1, 2}) {
                if (::fcntl(fd, F_GETFD) >= 0) return 3;
              }
              return 0;
            }),
            0);
  EXPECT_TRUE(Sidecar::Peek(path_).ok());
}

TEST_F(SidecarTest, IsNotInheritedByAnotherProgram) {
  Create();
  auto sidecar = Open();
  int found = 0;
  for (auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    if (std::filesystem::read_symlink(entry.path(), error) != path_) continue;
    found++;
    EXPECT_NE(::fcntl(std::stoi(entry.path().filename()), F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(found, 1);
}

TEST_F(SidecarTest, NoticesThatItsNameIsGoneOrAnothers) {
  Create();
  auto sidecar = Open();
  EXPECT_TRUE(sidecar->StillThere());
  std::filesystem::rename(path_, path_ + "-moved");
  EXPECT_FALSE(sidecar->StillThere());
  Create();
  EXPECT_FALSE(sidecar->StillThere());
  std::filesystem::rename(path_ + "-moved", path_);
  EXPECT_TRUE(sidecar->StillThere());
}

TEST_F(SidecarTest, MarksTheDatabaseWhereTheFileSystemAllowsIt) {
  std::ofstream(database_) << "x";
  EXPECT_FALSE(IsMarked(database_));
  EXPECT_TRUE(MarkDatabase(database_, FullRecord().replica_id).ok());
  if (::setxattr(database_.c_str(), "user.turso.test", "1", 1, 0) == 0) {
    EXPECT_TRUE(IsMarked(database_));
  } else {
    EXPECT_FALSE(IsMarked(database_));
  }
  EXPECT_EQ(MarkDatabase(database_ + "-none", {}).code(), Code::kNotFound);
  EXPECT_FALSE(IsMarked(database_ + "-none"));
}

}  // namespace
}  // namespace turso
