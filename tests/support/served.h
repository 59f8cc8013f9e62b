// A served database of a test, and replicas of it that live in memory.

#ifndef TURSO_TESTS_SUPPORT_SERVED_H_
#define TURSO_TESTS_SUPPORT_SERVED_H_

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <future>
#include <memory>
#include <string>

#include "src/primary/alarm.h"
#include "src/primary/served_database.h"

namespace turso {

// Opens databases, and runs their clocks.
class ServedHost {
 public:
  ~ServedHost() {
    alarm_.Stop();
    background_.Stop();
  }
  Result<std::shared_ptr<ServedDatabase>> Open(const std::string& path) {
    return ServedDatabase::Open(path, &alarm_, &background_);
  }
  std::shared_ptr<ServedDatabase> MustOpen(const std::string& path) {
    Result<std::shared_ptr<ServedDatabase>> opened = Open(path);
    EXPECT_TRUE(opened.ok()) << opened.status().text();
    return opened.ok() ? *opened : nullptr;
  }

 private:
  Alarm alarm_, background_;
};

inline Answer PullNow(ServedDatabase* database, PullRequest request) {
  std::promise<Answer> answer;
  database->Pull(request, [&](Answer a) { answer.set_value(std::move(a)); });
  return answer.get_future().get();
}

// A replica: what it has pulled, and what it would write next.
class MemoryReplica {
 public:
  explicit MemoryReplica(uint8_t id) { id_.fill(id); }

  const ReplicaId& id() const { return id_; }
  const std::string& revision() const { return revision_; }
  const Bytes& image() const { return image_; }
  uint64_t number() const { return number_; }

  // Pages that came.
  Result<size_t> Pull(ServedDatabase* database) {
    size_t pages = 0;
    for (bool again = true; again;) {
      again = false;
      PullRequest request;
      request.since = revision_;
      std::string first;
      do {
        Answer answer = PullNow(database, request);
        if (!answer.ok()) return answer.status();
        Result<Message> message = Message::Decode(AsBytes(**answer));
        if (!message.ok()) return message.status();
        std::string revision = *TextField(message->head(), "revision");
        if (first.empty()) first = revision;
        if (revision != first) again = true;
        size_t page_size = *NumberField(message->head(), "page_size");
        image_.resize(*NumberField(message->head(), "db_size") * page_size);
        Status status = message->ForEachPage([&](PageNo page, ByteView image) {
          std::copy(image.begin(), image.end(), image_.begin() + (page.value - 1) * page_size);
          pages++;
          return OkStatus();
        });
        if (!status.ok()) return status;
        request.after = {static_cast<uint32_t>(*NumberField(message->head(), "next_after_page"))};
      } while (request.after.value != 0);
      revision_ = first;
    }
    return pages;
  }

  // What `sql` changes, as the next commit of this replica.
  PageCommit Prepare(const std::string& sql) {
    PageCommit commit;
    commit.replica = id_;
    commit.number = ++number_;
    commit.base = revision_;
    next_ = After(sql);
    const uint32_t page_size = 4096;
    commit.pages = PageSet(page_size);
    commit.pages.set_db_size(static_cast<uint32_t>(next_.size() / page_size));
    for (size_t at = 0; at < next_.size(); at += page_size) {
      if (at < image_.size() && std::equal(&next_[at], &next_[at] + page_size, &image_[at]))
        continue;
      commit.pages.Put({static_cast<uint32_t>(at / page_size + 1)}, &next_[at]);
    }
    return commit;
  }
  // The commit that was prepared last has become `revision`.
  void Took(const RevisionId& revision) {
    image_ = next_;
    revision_ = revision.text();
  }
  Result<Committed> Commit(ServedDatabase* database, const std::string& sql) {
    PageCommit commit = Prepare(sql);
    Result<Committed> committed = database->Commit(commit);
    if (committed.ok()) Took(committed->revision);
    return committed;
  }

  // The first column of the first row.
  std::string Text(const std::string& sql) const {
    sqlite3* db = Load();
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db);
    std::string text;
    if (sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0)) {
      text = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return text;
  }

 private:
  // The image in memory. There is no WAL there, so the header must not ask for one.
  sqlite3* Load() const {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    auto size = static_cast<sqlite3_int64>(image_.size());
    auto* copy = static_cast<uint8_t*>(sqlite3_malloc64(image_.size()));
    std::copy(image_.begin(), image_.end(), copy);
    copy[18] = copy[19] = 1;
    EXPECT_EQ(sqlite3_deserialize(db, "main", copy, size, size,
                                  SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE),
              SQLITE_OK);
    return db;
  }
  Bytes After(const std::string& sql) const {
    sqlite3* db = Load();
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db);
    sqlite3_int64 size = 0;
    uint8_t* raw = sqlite3_serialize(db, "main", &size, 0);
    Bytes image(raw, raw + size);
    sqlite3_free(raw);
    sqlite3_close(db);
    image[18] = image[19] = 2;
    return image;
  }

  ReplicaId id_{};
  std::string revision_;
  Bytes image_;
  Bytes next_;
  uint64_t number_ = 0;
};

}  // namespace turso

#endif  // TURSO_TESTS_SUPPORT_SERVED_H_
