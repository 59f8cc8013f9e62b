// What SQLite asks of an open database file beside reading and writing: above all, pragmas.

#include <cctype>
#include <cstring>

#include "vfs/connection.h"
#include "vfs/gated_file.h"
#include "vfs/result_codes.h"

namespace turso {

namespace {

PragmaFunction g_pragma_function = nullptr;

bool IsWord(const char* text, const char* word) {
  return text != nullptr && sqlite3_stricmp(text, word) == 0;
}

int Answer(char** out, const std::string& text) {
  *out = sqlite3_mprintf("%s", text.c_str());
  return *out == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}

// https://sqlite.org/c3ref/c_fcntl_begin_atomic_write.html#sqlitefcntlpragma
int ControlPragma(Session* session, char** arguments) {
  const char* name = arguments[1];
  const char* argument = arguments[2];
  // As SQLite answers where it cannot change the mode: with the mode that stays.
  if (IsWord(name, "journal_mode") && argument != nullptr && !IsWord(argument, "wal")) {
    return Answer(&arguments[0], "wal");
  }
  if (IsWord(name, "locking_mode") && IsWord(argument, "exclusive"))
    return Answer(&arguments[0], "normal");
  if (g_pragma_function == nullptr || sqlite3_strnicmp(name, "turso_", 6) != 0)
    return SQLITE_NOTFOUND;
  Replica* replica = (**session->database).replica.get();
  if (replica == nullptr) return SQLITE_NOTFOUND;
  std::optional<WalPosition> snapshot;
  if (session->read_locks != 0) snapshot = session->snapshot;
  std::optional<Result<std::string>> answer =
      g_pragma_function(replica, snapshot, name, argument, InterruptedBy(session));
  if (!answer.has_value()) return SQLITE_NOTFOUND;
  if ((*answer).ok()) return Answer(&arguments[0], **answer);
  int code = Answer(&arguments[0], (*answer).status().text());
  return code == SQLITE_OK ? SqliteCode((*answer).status()) : code;
}

}  // namespace

void SetPragmaFunction(PragmaFunction function) { g_pragma_function = function; }

int ControlFile(Session* session, int op, void* argument) {
  switch (op) {
    case SQLITE_FCNTL_PRAGMA: {
      int code = ControlPragma(session, static_cast<char**>(argument));
      if (code != SQLITE_NOTFOUND) return code;
      break;
    }
    case SQLITE_FCNTL_PDB: session->connection = static_cast<sqlite3**>(argument); break;
    case SQLITE_FCNTL_SIZE_HINT:  // A checkpoint's, which may change the file.
      if (session->checkpoint_held) {
        if (int code = AnnounceCheckpoint(session); code != SQLITE_OK) return code;
      }
      break;
    case SQLITE_FCNTL_LOCK_TIMEOUT:
      // A host that may block on locks takes WRITE before READ; without the offer it keeps the
      // usual order.
      return SQLITE_NOTFOUND;
    case SQLITE_FCNTL_VFSNAME: {
      int code = session->lower->pMethods->xFileControl(session->lower, op, argument);
      char** name = static_cast<char**>(argument);
      if (code == SQLITE_OK && *name != nullptr) {
        char* longer = sqlite3_mprintf("turso/%s", *name);
        if (longer == nullptr) return SQLITE_NOMEM;
        sqlite3_free(*name);
        *name = longer;
      }
      return code;
    }
    default: break;
  }
  return session->lower->pMethods->xFileControl(session->lower, op, argument);
}

}  // namespace turso
