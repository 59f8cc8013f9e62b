#include "vfs/gated_file.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "src/base/guard.h"
#include "src/base/log.h"
#include "vfs/guarded.h"

namespace turso {

namespace {

constexpr char kMagic[] = "SQLite format 3";  // With its zero: the first 16 bytes of page 1.

GatedFile* File(sqlite3_file* file) { return reinterpret_cast<GatedFile*>(file); }
sqlite3_file* Lower(sqlite3_file* file) { return File(file)->session->lower; }
sqlite3_file* WalLower(sqlite3_file* file) { return reinterpret_cast<GatedWal*>(file)->lower; }

// Open database files of this process, to find the WAL's by its name and to see who writes. Under
// RegistryMutex.
std::vector<Session*>& OpenSessions() {
  static auto* sessions = new std::vector<Session*>;
  return *sessions;
}

// A replica's file says "do not write" to those who come without us; here it says "WAL". No other
// page of a database under 5 TB can begin with the magic: the first bytes are a b-tree's type or a
// page number.
void ShowAsWal(uint8_t* page, int count) {
  if (count > int{kWriteVersionAt} && page[kWriteVersionAt] == kGuardVersion &&
      std::memcmp(page, kMagic, sizeof kMagic) == 0) {
    page[kWriteVersionAt] = kWalModeVersion;
  }
}

int Read(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
  Session* session = File(file)->session;
  int code = session->lower->pMethods->xRead(session->lower, out, count, offset);
  if (offset == 0) ShowAsWal(static_cast<uint8_t*>(out), count);
  return code;
}

// Before a checkpoint changes the database file. SQLite does not sync the log under
// synchronous=OFF: then a power cut could leave some pages of the newest state, and no log that has
// the rest.
int SyncLogOnce(Session* session) {
  if (session->log_synced || session->wal == nullptr) return SQLITE_OK;
  return session->wal->pMethods->xSync(session->wal, SQLITE_SYNC_NORMAL);
}

int Write(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
  Session* session = File(file)->session;
  // Only a checkpoint may write here: everything else goes through the log and its gate.
  if (!session->checkpoint_held) return SQLITE_READONLY;
  if (int code = SyncLogOnce(session); code != SQLITE_OK) return code;
  if (int code = AnnounceCheckpoint(session); code != SQLITE_OK) return code;
  if (offset != 0 || count <= int{kWriteVersionAt} || (*session->database)->replica == nullptr) {
    return session->lower->pMethods->xWrite(session->lower, bytes, count, offset);
  }
  return Guarded(SQLITE_IOERR_WRITE, [&] {
    const auto* page = static_cast<const uint8_t*>(bytes);
    std::vector<uint8_t> copy(page, page + count);
    if (copy[kWriteVersionAt] == kWalModeVersion) copy[kWriteVersionAt] = kGuardVersion;
    return session->lower->pMethods->xWrite(session->lower, copy.data(), count, 0);
  });
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (!File(file)->session->checkpoint_held) return SQLITE_READONLY;
  if (int code = SyncLogOnce(File(file)->session); code != SQLITE_OK) return code;
  if (int code = AnnounceCheckpoint(File(file)->session); code != SQLITE_OK) return code;
  return Lower(file)->pMethods->xTruncate(Lower(file), size);
}

int Sync(sqlite3_file* file, int flags) { return Lower(file)->pMethods->xSync(Lower(file), flags); }

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Lower(file)->pMethods->xFileSize(Lower(file), size);
}

// Above SHARED, a connection would leave the log: a rollback journal, exclusive locking, the last
// close's checkpoint. That one is done for it when it has closed; it does not ask if the file was
// moved or replaced, nor with SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE.
int Lock(sqlite3_file* file, int level) {
  if (level == SQLITE_LOCK_EXCLUSIVE) File(file)->session->database->set_checkpoint_wanted();
  if (level > SQLITE_LOCK_SHARED) return SQLITE_BUSY;
  return Lower(file)->pMethods->xLock(Lower(file), level);
}

int Unlock(sqlite3_file* file, int level) {
  return Lower(file)->pMethods->xUnlock(Lower(file), level);
}

int CheckReservedLock(sqlite3_file* file, int* out) {
  return Lower(file)->pMethods->xCheckReservedLock(Lower(file), out);
}

int FileControl(sqlite3_file* file, int op, void* argument) {
  return Guarded(SQLITE_ERROR, [&] { return ControlFile(File(file)->session, op, argument); });
}

int SectorSize(sqlite3_file* file) { return Lower(file)->pMethods->xSectorSize(Lower(file)); }

int DeviceCharacteristics(sqlite3_file* file) {
  // Without powersafe overwrite SQLite pads a commit with copies of its last frame; the log of a
  // replica has none.
  int flags = Lower(file)->pMethods->xDeviceCharacteristics(Lower(file));
  return (flags | SQLITE_IOCAP_POWERSAFE_OVERWRITE) &
         ~(SQLITE_IOCAP_BATCH_ATOMIC | SQLITE_IOCAP_IMMUTABLE);
}

// What SQLite opens by name for a database file that is open: its log, its index. (DB3) It is
// another's if the name is another's now.
int CheckNameIsOurs(Session* session, const char* doing) {
  Status there = session->files->CheckPlace(LowerFiles::kDatabase);
  if (there.ok()) return SQLITE_OK;
  there = there.While(doing);
  Database& database = **session->database;
  if (database.replica != nullptr) {
    database.replica->Refused(there);
  } else {
    Log(LogLevel::kError, there.text());
  }
  return SQLITE_CANTOPEN;
}

int ShmMap(sqlite3_file* file, int block, int size, int extend, void volatile** out) {
  Session* session = File(file)->session;
  *out = nullptr;
  if (session->index == nullptr) {
    const int code =
        Guarded(SQLITE_CANTOPEN, [&] { return CheckNameIsOurs(session, "opening the wal-index"); });
    if (code != SQLITE_OK) return code;
  }
  int code = session->lower->pMethods->xShmMap(session->lower, block, size, extend, out);
  if (code != SQLITE_OK || *out == nullptr) return code;
  code = Guarded(SQLITE_IOERR_SHMMAP, [&] {
    if (block == 0) session->files->NotePlace(LowerFiles::kIndex);
    const auto number = static_cast<size_t>(block);
    if (session->blocks.size() <= number) session->blocks.resize(number + 1, nullptr);
    session->blocks[number] = *out;
    if (block == 0) session->index = static_cast<const volatile uint8_t*>(*out);
    return SQLITE_OK;
  });
  if (code != SQLITE_OK) *out = nullptr;  // Or SQLite would not ask again.
  return code;
}

int ShmLock(sqlite3_file* file, int first, int count, int flags) {
  return Guarded(SQLITE_IOERR_SHMLOCK,
                 [&] { return LockIndex(File(file)->session, first, count, flags); });
}

void ShmBarrier(sqlite3_file* file) { Lower(file)->pMethods->xShmBarrier(Lower(file)); }

int ShmUnmap(sqlite3_file* file, int delete_it) {
  File(file)->session->index = nullptr;
  File(file)->session->blocks.clear();
  return Lower(file)->pMethods->xShmUnmap(Lower(file), delete_it);
}

int Fetch(sqlite3_file* file, sqlite3_int64 offset, int count, void** out) {
  // Mapped memory cannot show page 1 differently.
  if (offset == 0) {
    *out = nullptr;
    return SQLITE_OK;
  }
  return Lower(file)->pMethods->xFetch(Lower(file), offset, count, out);
}

int Unfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
  return Lower(file)->pMethods->xUnfetch(Lower(file), offset, page);
}

int WalRead(sqlite3_file* file, void* out, int count, sqlite3_int64 offset) {
  Session* session = reinterpret_cast<GatedWal*>(file)->session;
  int code = WalLower(file)->pMethods->xRead(WalLower(file), out, count, offset);
  if (code == SQLITE_OK && IsChainSeed(session, count, offset)) {
    code = MendChain(session, offset, static_cast<uint8_t*>(out));
  }
  if (code != SQLITE_OK) return BehindAgreement(session, code);
  // A whole frame, which recovery reads to verify its checksum, begins with its header and so is
  // left as it is.
  ShowAsWal(static_cast<uint8_t*>(out), count);
  return code;
}

int WalWrite(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
  auto* wal = reinterpret_cast<GatedWal*>(file);
  int code = Guarded(SQLITE_IOERR_WRITE,
                     [&] { return WriteWal(wal->session, wal->lower, bytes, count, offset); });
  return BehindAgreement(wal->session, code);
}

int WalTruncate(sqlite3_file* file, sqlite3_int64 size) {
  return WalLower(file)->pMethods->xTruncate(WalLower(file), size);
}
int WalSync(sqlite3_file* file, int flags) {
  Session* session = reinterpret_cast<GatedWal*>(file)->session;
  int code = WalLower(file)->pMethods->xSync(WalLower(file), flags);
  if (code == SQLITE_OK) session->log_synced = true;
  return BehindAgreement(session, code);
}
int WalFileSize(sqlite3_file* file, sqlite3_int64* size) {
  return WalLower(file)->pMethods->xFileSize(WalLower(file), size);
}
int WalLock(sqlite3_file* file, int level) {
  return WalLower(file)->pMethods->xLock(WalLower(file), level);
}
int WalUnlock(sqlite3_file* file, int level) {
  return WalLower(file)->pMethods->xUnlock(WalLower(file), level);
}
int WalCheckReservedLock(sqlite3_file* file, int* out) {
  return WalLower(file)->pMethods->xCheckReservedLock(WalLower(file), out);
}
int WalFileControl(sqlite3_file* file, int op, void* argument) {
  return WalLower(file)->pMethods->xFileControl(WalLower(file), op, argument);
}
int WalSectorSize(sqlite3_file* file) {
  return WalLower(file)->pMethods->xSectorSize(WalLower(file));
}
int WalDeviceCharacteristics(sqlite3_file* file) {
  return WalLower(file)->pMethods->xDeviceCharacteristics(WalLower(file));
}

constexpr sqlite3_io_methods Methods(int version) {
  return {version,
          CloseGatedFile,
          Read,
          Write,
          Truncate,
          Sync,
          FileSize,
          Lock,
          Unlock,
          CheckReservedLock,
          FileControl,
          SectorSize,
          DeviceCharacteristics,
          ShmMap,
          ShmLock,
          ShmBarrier,
          ShmUnmap,
          Fetch,
          Unfetch};
}
const sqlite3_io_methods kMethods2 = Methods(2);
const sqlite3_io_methods kMethods3 = Methods(3);

const sqlite3_io_methods kWalMethods = {1,
                                        CloseGatedWal,
                                        WalRead,
                                        WalWrite,
                                        WalTruncate,
                                        WalSync,
                                        WalFileSize,
                                        WalLock,
                                        WalUnlock,
                                        WalCheckReservedLock,
                                        WalFileControl,
                                        WalSectorSize,
                                        WalDeviceCharacteristics,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr,
                                        nullptr};

// The page size of a database that cannot change it: in WAL mode SQLite ignores PRAGMA page_size.
Result<uint32_t> PageSizeOf(LowerFiles* files) {
  std::array<uint8_t, 100> header{};
  TURSO_RETURN_IF_ERROR(files->ReadDatabase(0, header));
  uint32_t size = LoadBig16(header.data() + 16);
  if (size == 1) size = 65536;
  if (std::memcmp(header.data(), kMagic, sizeof kMagic) != 0 || !IsPageSize(size)) {
    return Status(Code::kIo, "its first page is not a SQLite database's");
  }
  return size;
}

}  // namespace

int CloseGatedFile(sqlite3_file* file) {
  Session* session = File(file)->session;
  {
    std::lock_guard lock(RegistryMutex());
    std::erase(OpenSessions(), session);
  }
  int code = session->lower_file.Close();
  file->pMethods = nullptr;
  // Last: the replica's own handles go with its last connection, and the database's locks with
  // them.
  delete session;
  return code;
}

int OpenGatedFile(const char* name, sqlite3_file* file, int flags, int* out_flags,
                  std::unique_ptr<DatabaseUse> database) {
  auto session = std::make_unique<Session>();
  int code = session->lower_file.Open(name, flags & ~SQLITE_OPEN_CREATE, out_flags);
  if (code != SQLITE_OK) return code;
  sqlite3_file* lower = session->lower_file.get();
  session->database = std::move(database);
  session->lower = lower;
  session->file = file;
  session->name = name;
  session->generation = ForkGeneration();
  session->is_ours = !session->database->counted();
  session->files.emplace(lower, nullptr, (*session->database)->path);
  session->files->NotePlace(LowerFiles::kDatabase);
  if (Status there = CheckInPlace(**session->database); !there.ok()) {
    Log(LogLevel::kError, there.While("opening " + std::string(name)).text());
    return SQLITE_CANTOPEN;
  }
  Result<uint32_t> page_size = PageSizeOf(&*session->files);
  if (!page_size.ok() || lower->pMethods->iVersion < 2) {
    Log(LogLevel::kError, "opening " + std::string(name) + ": " +
                              (page_size.ok() ? "no shared memory" : page_size.status().text()));
    return SQLITE_CANTOPEN;
  }
  session->page_size = *page_size;
  {
    std::lock_guard lock(RegistryMutex());
    OpenSessions().push_back(session.get());
  }
  File(file)->session = session.release();
  file->pMethods = lower->pMethods->iVersion >= 3 ? &kMethods3 : &kMethods2;
  return SQLITE_OK;
}

int CloseGatedWal(sqlite3_file* file) {
  auto* wal = reinterpret_cast<GatedWal*>(file);
  wal->session->files->set_wal(nullptr);
  wal->session->wal = nullptr;
  int code = wal->session->lower_wal->Close();
  wal->session->lower_wal.reset();
  file->pMethods = nullptr;
  return code;
}

Session* SessionOfWal(const char* wal_name) {
  const char* name = sqlite3_filename_database(wal_name);
  std::lock_guard lock(RegistryMutex());
  for (Session* session : OpenSessions()) {
    if (session->name == name) return session;
  }
  return nullptr;
}

int OpenGatedWal(const char* name, sqlite3_file* file, int flags, int* out_flags,
                 Session* session) {
  int code = CheckNameIsOurs(session, "opening the log");
  if (code != SQLITE_OK) return code;
  session->lower_wal.emplace();
  code = session->lower_wal->Open(name, flags, out_flags);
  if (code != SQLITE_OK) {
    session->lower_wal.reset();
    return code;
  }
  sqlite3_file* lower = session->lower_wal->get();
  auto* wal = reinterpret_cast<GatedWal*>(file);
  wal->session = session;
  wal->lower = lower;
  session->files->set_wal(lower);
  session->files->NotePlace(LowerFiles::kLog);
  session->wal = file;
  file->pMethods = &kWalMethods;
  return SQLITE_OK;
}

void DisownOpenFiles() {
  for (Session* session : OpenSessions()) Disown(session);
}

Session* SessionOf(sqlite3_file* file) {
  if (file == nullptr || (file->pMethods != &kMethods2 && file->pMethods != &kMethods3))
    return nullptr;
  return File(file)->session;
}

bool WritesElsewhere(const Session* session) {
  if (session->connection == nullptr) return false;
  std::lock_guard lock(RegistryMutex());
  return std::any_of(OpenSessions().begin(), OpenSessions().end(), [&](const Session* other) {
    return other != session && other->entered && other->connection != nullptr &&
           *other->connection == *session->connection;
  });
}

}  // namespace turso
