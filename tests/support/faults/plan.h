// build/libturso_faults.so: faults for any process, by LD_PRELOAD. It numbers the calls that the
// process makes on the files of one directory, on its TCP sockets and, if asked, for memory, and
// can kill the process at one of them, let one of them fail, or write down what they do to the
// disk.
//
// What happens stands in a control file, which is looked for at every call: nothing is counted
// before it is there, and all is as if we were not once it is gone. Put it in place by rename(),
// and counting starts afresh with every new one. Its name is in TURSO_FAULTS_CONTROL, or comes from
// turso_faults_control(). One word or more a line:
//
//   directory PATH              whose files count; absolute and without symbolic links
//   count file net memory       which calls count; without this line: file net
//   log PATH                    append each point's number and name
//   record PATH                 append what the calls did, as below
//   kill before|after N [NAME]  SIGKILL at the N-th point, or the N-th that fits NAME (* and ? too)
//   fail ERRNO N[+] [NAME]      that call is not made and fails; with + all later too. Unlocking
//                               never fails: SQLite would keep such a lock for ever
//   partial ERRNO N[+] [NAME]   as fail; but a write writes half first, and the next one fails
//   quick                       syncs are counted and written down, and take no time
//   boot TEXT                   what /proc/sys/kernel/random/boot_id says
//
// The name of a point is the call and, relative to the directory, the file: `pwrite app.db-wal`,
// `rename app.db-log-new app.db-log`, `lock app.db-shm`, `send tcp`, `malloc`. Numbers of
// processes, random ones and times are left out of it. `~` in front: not by the process's first
// thread. Calls are named without their variants (open, and not openat64).
//
// A record is lines, of all processes that share the file in the order of what happened:
//
//   at PID NAME                     this point is about to happen
//   create INODE PATH               link FROM<tab>TO      rename FROM<tab>TO     unlink PATH
//   write INODE OFFSET LENGTH PATH  followed by LENGTH bytes and a newline
//   size INODE SIZE PATH            cut or extended       grow INODE SIZE PATH   at least that long
//   fsync INODE PATH                of a file or a directory: all that is to be known of it, or its
//                                   names
//   fdatasync INODE PATH            without the time, unless the size changed
//   time INODE NANOSECONDS          of the last change, after each line that changes it
//   attribute INODE NAME HEX PATH   mark TEXT             from turso_faults_mark()
//
// Stores into mappings are not seen. SQLite's calls are: its table of system calls holds what the
// dynamic linker resolved. glibc's own (fopen, getaddrinfo) are not.

#ifndef TURSO_TESTS_SUPPORT_FAULTS_PLAN_H_
#define TURSO_TESTS_SUPPORT_FAULTS_PLAN_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace faults {

// What a call is about. Its name is empty if it does not count.
struct Subject {
  char path[1024];  // Absolute; empty for sockets and memory.
  char role[512];   // Relative to the directory, without random parts.
  bool counts;
};

Subject File(const char* path);  // Relative ones from the working directory.
Subject FileAt(int directory, const char* path);
Subject Descriptor(int fd);  // A file, or a TCP socket.
Subject Socket(int fd);      // Only if it is one.
Subject Memory();

struct Verdict {
  bool counted = false;
  bool recorded = false;
  bool kill_after = false;
  bool quick = false;
  bool half = false;  // A write: only half of it.
  int error = 0;      // The call is to fail with this.
};

enum class Kind { kWrite, kOther };

// Counts the call, and dies here if that is the plan.
Verdict Arrive(const char* call, const Subject& subject, Kind kind = Kind::kOther,
               const Subject* second = nullptr);
// Once it is done. Keeps errno.
void Leave(const Verdict& verdict);

// One line of the record, with bytes behind it if there are any.
void Record(const char* format, ...) __attribute__((format(printf, 1, 2)));
void RecordBytes(const char* line, const iovec* parts, int count, size_t bytes);
uint64_t Inode(int fd);
void RecordTime(int fd);  // Of the file's last change.

// The text for the boot id, or null.
const char* BootId();

}  // namespace faults

#endif  // TURSO_TESTS_SUPPORT_FAULTS_PLAN_H_
