// A replica out of nothing.
//
//   NAME.turso-tmp-PID-RANDOM   the database while its pages come in
//   NAME-turso-lock             held by the one process that makes NAME; the others wait for it
//
//   nothing --pull--> temporary database --> + NAME-turso --> + NAME
//                     marked, synced         half-made        ready
//
//   (B1) A database under its final name has its sidecar: never a plain-looking file whose writes
//        go nowhere.
//   (B2) A death at any point leaves what the next attempt completes or replaces; a failure leaves
//        nothing under a final name.
//   (B3) No file that has something in it is replaced before it is set aside. A log without its
//        database would be taken for the new one's: so is that.
// Any thread, any process.

#ifndef TURSO_SRC_REPLICA_BOOTSTRAP_H_
#define TURSO_SRC_REPLICA_BOOTSTRAP_H_

#include <memory>
#include <string>

#include "src/base/status.h"
#include "src/remote/remote.h"
#include "src/replica/options.h"

namespace turso {

// Replica::Create, but with a Remote in the place of the one that options.url names.
//   kOk        It is there, made by us or by somebody else meanwhile.
//   kInvalid   A file of another kind has the name; or the sidecar there names another database; or
//              no primary is named.
//   kBusy      Another process makes it, and made no progress for options.timeout.
//   kCorrupt   The primary's pages make no database, or the sidecar there is damaged.
// Else what the primary or the file system says.
Status CreateFrom(const std::string& database, const Options& options,
                  std::unique_ptr<Remote> remote);

// Makes a replica anew whose file is beyond repair by pages: the file is kept aside. `why` is for
// the log. The codes are CreateFrom's.
Status MakeAnew(const std::string& database, const Options& options, const std::string& why);

}  // namespace turso

#endif  // TURSO_SRC_REPLICA_BOOTSTRAP_H_
