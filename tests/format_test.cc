#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "src/format/btree.h"
#include "src/format/other_pages.h"
#include "src/format/record.h"
#include "src/format/schema.h"
#include "src/format/text.h"
#include "src/format/varint.h"
#include "tests/support/connection.h"
#include "tests/support/memory_pages.h"
#include "tests/support/seed.h"

namespace turso {
namespace {

// A database of SQLite's, and what the parsers read from its bytes.
struct Parsed {
  explicit Parsed(Connection* db)
      : pages(db->Image(), static_cast<uint32_t>(db->Int("PRAGMA page_size"))) {
    Result<DatabaseState> opened = DatabaseState::Open(&pages, pages.page_size(), pages.db_size());
    EXPECT_TRUE(opened.ok()) << opened.status().text();
    if (opened.ok()) state.emplace(std::move(*opened));
  }

  PageNo Root(const std::string& name) {
    Result<std::vector<SchemaRow>> rows = ReadSchema(&*state);
    EXPECT_TRUE(rows.ok()) << rows.status().text();
    for (const SchemaRow& row : *rows)
      if (row.name == name) return row.root;
    ADD_FAILURE() << "no " << name;
    return {};
  }
  // The rows of a table, or the entries of an index.
  std::vector<std::pair<int64_t, std::vector<Value>>> Rows(const std::string& name) {
    std::vector<std::pair<int64_t, std::vector<Value>>> rows;
    const Status status = ForEachCell(&*state, Root(name), [&](const BtreePage&, const Cell& cell) {
      Result<Bytes> payload = ReadPayload(&*state, cell);
      if (!payload.ok()) return payload.status();
      Result<std::vector<Value>> values = DecodeRecord(*payload);
      if (!values.ok()) return values.status();
      rows.emplace_back(cell.rowid, std::move(*values));
      return OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status.text();
    return rows;
  }

  MemoryPages pages;
  std::optional<DatabaseState> state;
};

Value Column(sqlite3_stmt* row, int i) {
  const auto* blob = static_cast<const uint8_t*>(sqlite3_column_blob(row, i));
  const ByteView bytes(blob, static_cast<size_t>(sqlite3_column_bytes(row, i)));
  switch (sqlite3_column_type(row, i)) {
    case SQLITE_INTEGER: return Value::Integer(sqlite3_column_int64(row, i));
    case SQLITE_FLOAT: return Value::Real(sqlite3_column_double(row, i));
    case SQLITE_TEXT: return Value::Text(bytes);
    case SQLITE_BLOB: return Value::Blob(bytes);
    default: return Value::Null();
  }
}

// The same by SQLite: the first column is the key.
std::vector<std::pair<int64_t, std::vector<Value>>> Ask(Connection* db, const std::string& sql) {
  std::vector<std::pair<int64_t, std::vector<Value>>> rows;
  sqlite3_stmt* statement = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db->handle(), sql.c_str(), -1, &statement, nullptr), SQLITE_OK);
  while (sqlite3_step(statement) == SQLITE_ROW) {
    rows.emplace_back(sqlite3_column_int64(statement, 0), std::vector<Value>());
    for (int i = 1; i < sqlite3_column_count(statement); ++i)
      rows.back().second.push_back(Column(statement, i));
  }
  sqlite3_finalize(statement);
  return rows;
}

TEST(Varint, EveryLengthIsReadAndACutOneIsNot) {
  struct Case {
    Bytes bytes;
    uint64_t value;
  };
  for (const Case& c : {Case{{0x00}, 0}, Case{{0x7f}, 127}, Case{{0x81, 0x00}, 128},
                        Case{{0xff, 0x7f}, 16383}, Case{{0x81, 0x80, 0x00}, 16384},
                        Case{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ~uint64_t{0}},
                        Case{{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x07}, 7}}) {
    Bytes longer = c.bytes;
    longer.push_back(0x55);
    ByteView rest = longer;
    uint64_t value = 0;
    ASSERT_TRUE(TakeVarint(&rest, &value));
    EXPECT_EQ(value, c.value);
    EXPECT_EQ(rest.size(), 1U);
    ByteView cut = ByteView(c.bytes).first(c.bytes.size() - 1);
    EXPECT_FALSE(TakeVarint(&cut, &value));
  }
}

TEST(Text, IsUtf8OnlyIfItIsWellFormed) {
  for (const char* good : {"", "a", "\x7f", "\xc2\x80", "\xe0\xa0\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(ToUtf8(AsBytes(good), TextEncoding::kUtf8), good);
  for (const char* bad : {"\x80", "\xc0\x80", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xff",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "a\xe2\x82"})
    EXPECT_EQ(ToUtf8(AsBytes(bad), TextEncoding::kUtf8), std::nullopt) << ToHex(AsBytes(bad));
}

TEST(Text, IsReadFromUtf16InBothByteOrders) {
  const std::string text = "a\u00e4\u20ac\U0001F600";
  const Bytes big = *FromHex("006100e420acd83dde00");
  Bytes little = big;
  for (size_t i = 0; i < little.size(); i += 2) std::swap(little[i], little[i + 1]);
  EXPECT_EQ(ToUtf8(big, TextEncoding::kUtf16Big), text);
  EXPECT_EQ(ToUtf8(little, TextEncoding::kUtf16Little), text);
  for (const char* bad : {"d83d", "de00", "d83d0041", "00"})
    EXPECT_EQ(ToUtf8(*FromHex(bad), TextEncoding::kUtf16Big), std::nullopt) << bad;
}

TEST(Record, HoldsEveryTypeOfValueAsSqliteWroteIt) {
  Connection db(":memory:");
  db.Run(
      "CREATE TABLE t(a,b,c,d); INSERT INTO t VALUES"
      "(NULL,0,1,-1),(127,-128,128,-129),(32767,-32768,32768,8388607),"
      "(-8388608,8388608,2147483647,-2147483648),"
      "(2147483648,140737488355327,-140737488355328,140737488355328),"
      "(9223372036854775807,-9223372036854775808,1.5,-0.0),(9e999,-9e999,1e-320,0.1),"
      "('','a',x'',x'00'),(CAST(x'ff00fe' AS TEXT),zeroblob(70),printf('%.200c','x'),'ä')");
  EXPECT_EQ(Parsed(&db).Rows("t"), Ask(&db, "SELECT rowid,* FROM t"));
}

TEST(Record, ThatIsCutOrHasReservedTypesIsRefused) {
  const Bytes record = *FromHex("0301170961");  // 1 byte of an integer, 5 of a text: too long.
  EXPECT_EQ(DecodeRecord(record).status().code(), Code::kCorrupt);
  for (const char* bad : {"", "00", "05", "020a", "020b", "0281", "020f", "0206ff", "ffffffff"})
    EXPECT_EQ(DecodeRecord(*FromHex(bad)).status().code(), Code::kCorrupt) << bad;
  EXPECT_TRUE(DecodeRecord(*FromHex("01")).ok());
}

TEST(Record, PrefixesAreEqualWhereTheirFieldsAre) {
  const Bytes one = *FromHex("040109010708");  // 7, 1, 8
  const Bytes two = *FromHex("0401090f0761");  // 7, 1, 'a'
  EXPECT_EQ(*RecordPrefix(one, 2), *RecordPrefix(two, 2));
  EXPECT_NE(*RecordPrefix(one, 3), *RecordPrefix(two, 3));
  EXPECT_EQ(*RecordPrefix(one, 3), *RecordPrefix(one, 9));
}

TEST(Record, WithARealThatIsNoNumberReadsAsNull) {
  Result<std::vector<Value>> values = DecodeRecord(*FromHex("02077ff8000000000000"));
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(*values, std::vector<Value>{Value::Null()});
}

class EveryPageSize : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(, EveryPageSize,
                         ::testing::Values(512, 1024, 2048, 4096, 8192, 16384, 32768, 65536));

TEST_P(EveryPageSize, TreesAndOverflowChainsAreReadAsSqliteWroteThem) {
  for (int reserved : {0, 32}) {
    Connection db(":memory:");
    sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
    db.Run("PRAGMA page_size=" + std::to_string(GetParam()));
    db.Run(
        "CREATE TABLE t(a,b); CREATE INDEX t_b ON t(b); CREATE TABLE w(k PRIMARY KEY, v) WITHOUT "
        "ROWID;"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO t "
        "SELECT i, randomblob(abs(random()) % CASE i%50 WHEN 0 THEN 9000 ELSE 60 END) FROM n;"
        "INSERT INTO w SELECT hex(b)||rowid, b FROM t WHERE rowid%3=0");
    Parsed parsed(&db);
    ASSERT_TRUE(parsed.state);
    EXPECT_EQ(parsed.state->header().page_size, static_cast<uint32_t>(GetParam()));
    // In memory, SQLite 3.40 takes no reserved bytes.
    EXPECT_EQ(parsed.state->header().usable(), parsed.pages.page_size() - parsed.pages.image()[20]);
    EXPECT_EQ(parsed.Rows("t"), Ask(&db, "SELECT rowid,* FROM t"));
    EXPECT_EQ(parsed.Rows("w"), Ask(&db, "SELECT 0,* FROM w"));
    EXPECT_EQ(parsed.Rows("t_b"), Ask(&db, "SELECT 0,b,rowid FROM t ORDER BY b,rowid"));
  }
}

TEST(Schema, IsReadInEveryEncoding) {
  for (const char* encoding : {"UTF-8", "UTF-16le", "UTF-16be"}) {
    Connection db(":memory:");
    db.Run(std::string("PRAGMA encoding='") + encoding + "'");
    db.Run("CREATE TABLE \"gr\u00fc\u00df\"(a UNIQUE); CREATE VIEW v AS SELECT '\u20ac'");
    Parsed parsed(&db);
    Result<std::vector<SchemaRow>> rows = ReadSchema(&*parsed.state);
    ASSERT_TRUE(rows.ok()) << rows.status().text();
    ASSERT_EQ(rows->size(), 3U);
    EXPECT_EQ((*rows)[0].sql, "CREATE TABLE \"gr\u00fc\u00df\"(a UNIQUE)");
    EXPECT_EQ((*rows)[1].type, "index");
    EXPECT_EQ((*rows)[1].table, "gr\u00fc\u00df");
    EXPECT_EQ((*rows)[1].sql, "");
    EXPECT_EQ((*rows)[2],
              (SchemaRow{3, "view", "v", "v", {0}, "CREATE VIEW v AS SELECT '\u20ac'"}));
  }
}

TEST(DatabaseHeader, SaysWhatThePragmasSay) {
  Connection db(":memory:");
  db.Run(
      "PRAGMA page_size=1024; PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(a);"
      "PRAGMA user_version=-5; PRAGMA application_id=77");
  Parsed parsed(&db);
  const DatabaseHeader& header = parsed.state->header();
  EXPECT_EQ(header.page_size, 1024U);
  EXPECT_EQ(header.user_version, -5);
  EXPECT_EQ(header.application_id, 77);
  EXPECT_EQ(header.schema_cookie, static_cast<uint32_t>(db.Int("PRAGMA schema_version")));
  EXPECT_EQ(header.schema_format, 4U);
  EXPECT_TRUE(header.has_pointer_map() && header.incremental_vacuum);
}

TEST(OtherPages, FreelistAndPointerMapAreReadAsSqliteWroteThem) {
  Connection db(":memory:");
  db.Run(
      "PRAGMA page_size=512; PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(a); CREATE TABLE u(a);"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<900) INSERT INTO t "
      "SELECT randomblob(1500) FROM n; INSERT INTO u SELECT a FROM t; DELETE FROM t WHERE rowid>3");
  Parsed parsed(&db);
  Result<std::set<PageNo>> free = ReadFreelist(&*parsed.state);
  ASSERT_TRUE(free.ok()) << free.status().text();
  EXPECT_EQ(free->size(), static_cast<size_t>(db.Int("PRAGMA freelist_count")));
  EXPECT_GT(free->size(), 2000U);
  for (PageNo page : *free) {
    EXPECT_FALSE(IsPointerMapPage(*parsed.state, page));
    Result<PointerMapEntry> entry = ReadPointerMap(&*parsed.state, page);
    ASSERT_TRUE(entry.ok()) << entry.status().text();
    EXPECT_EQ(entry->kind, PointerMapEntry::Kind::kFree);
  }
  int chained = 0;
  const Status status =
      ForEachCell(&*parsed.state, parsed.Root("u"), [&](const BtreePage& page, const Cell& cell) {
        Result<std::vector<PageNo>> chain = OverflowChain(&*parsed.state, cell);
        if (!chain.ok()) return chain.status();
        PageNo parent = page.number();
        auto kind = PointerMapEntry::Kind::kFirstOverflow;
        for (PageNo next : *chain) {
          Result<PointerMapEntry> entry = ReadPointerMap(&*parsed.state, next);
          if (!entry.ok()) return entry.status();
          EXPECT_EQ(entry->kind, kind);
          EXPECT_EQ(entry->parent, parent);
          parent = next;
          kind = PointerMapEntry::Kind::kOverflow;
          ++chained;
        }
        return OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status.text();
  EXPECT_GT(chained, 1800);
}

// (F1): what sanitizers would see, and what would never come to an end.
TEST(Corruption, OfAnyByteIsAnErrorOrAnotherValue) {
  Rng rng(TestSeed());
  Connection db(":memory:");
  db.Run(
      "PRAGMA page_size=512; PRAGMA auto_vacuum=FULL; CREATE TABLE t(a,b); CREATE INDEX t_a ON "
      "t(a); CREATE TABLE w(k PRIMARY KEY) WITHOUT ROWID;"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60) INSERT INTO t "
      "SELECT i, randomblob(i*20) FROM n; INSERT INTO w SELECT b FROM t; CREATE TABLE gone(a);"
      "INSERT INTO gone SELECT b FROM t; PRAGMA auto_vacuum=INCREMENTAL; DELETE FROM gone");
  const Bytes image = db.Image();
  int errors = 0;
  for (int round = 0; round < 2000; ++round) {
    Bytes broken = image;
    for (int i = Between(&rng, 1, 12); i > 0; --i) {
      // Most of it where it hurts: at the beginning of a page.
      const size_t page =
          static_cast<size_t>(Between(&rng, 0, static_cast<int>(broken.size() / 512) - 1));
      const size_t at = page * 512 + static_cast<size_t>(Between(&rng, 0, i % 2 ? 511 : 20));
      broken[at] = static_cast<uint8_t>(Between(&rng, 0, 255));
    }
    MemoryPages pages(std::move(broken), 512);
    Result<DatabaseState> state = DatabaseState::Open(&pages, 512, pages.db_size());
    if (!state.ok()) {
      ++errors;
      continue;
    }
    (void)ReadFreelist(&*state);
    for (uint32_t page = 3; page <= state->db_size(); ++page)
      if (state->header().has_pointer_map()) (void)ReadPointerMap(&*state, {page});
    Result<std::vector<SchemaRow>> rows = ReadSchema(&*state);
    if (!rows.ok()) {
      ++errors;
      continue;
    }
    for (const SchemaRow& row : *rows) {
      if (row.root.value == 0) continue;
      const Status status =
          ForEachCell(&*state, row.root, [&](const BtreePage&, const Cell& cell) -> Status {
            Result<Bytes> payload = ReadPayload(&*state, cell);
            if (!payload.ok()) return payload.status();
            (void)OverflowChain(&*state, cell);
            (void)RecordPrefix(*payload, 1);
            return DecodeRecord(*payload).status();
          });
      if (!status.ok()) ++errors;
    }
  }
  EXPECT_GT(errors, 500);
}

}  // namespace
}  // namespace turso
