#include "src/replica/replica.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "src/base/fork_gate.h"
#include "src/base/log.h"
#include "src/replica/bootstrap.h"
#include "src/replica/replica_impl.h"

namespace turso {

namespace {

// Of a follower, which hears from the primary once a second: then it does not hear.
constexpr Duration kSilence = seconds(5);

bool IsThere(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// Log and index that are not there while others have them open were removed under them: with files
// of our own beside theirs, two logs would come to be.
Status ShareFiles(const std::string& database, ReplicaHost* host) {
  constexpr Duration kPatience = seconds(2);  // For who is just opening or closing it.
  const Instant deadline = Instant::Now() + kPatience;
  while (!IsThere(database + "-wal") || !IsThere(database + "-shm")) {
    Result<bool> unused = host->IsUnused();
    if (!unused.ok()) return unused.status();
    if (*unused) break;
    if (Instant::Now() > deadline) {
      return Status(Code::kIo, database +
                                   " is open in another program, and its -wal or -shm was removed "
                                   "meanwhile: close it there first");
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  return OkStatus();
}

// Brings what other programs left under the name to where SQLite opens it as a replica.
Status MakeFit(const std::string& database, const SidecarRecord& record, const Options& options,
               ReplicaHost* host) {
  Result<ReplicaHost::Found> found = host->LookAtDatabase();
  if (!found.ok()) return found.status();
  std::string why;
  if (record.outdated) why = "the pages of its primary have another size now";
  if (found->page_size == 0) why = "it is no SQLite database any more";
  if (found->page_size != 0 && found->page_size != record.page_size)
    why = "its pages have another size than those of its primary";
  if (why.empty()) return found->is_wal ? OkStatus() : host->EnterWalMode();
  if (found->page_size != 0) {
    Result<bool> unused = host->IsUnused();
    if (!unused.ok()) return unused.status();
    if (!*unused) {
      return Status(Code::kBusy, database + " is to be made anew from its primary, because " + why +
                                     "; but another program has it open: close it there");
    }
  }
  return MakeAnew(database, options, why);
}

}  // namespace

Result<std::shared_ptr<Replica>> Replica::Open(const std::string& database, const Options& options,
                                               std::unique_ptr<ReplicaHost> host) {
  const std::string name = Sidecar::PathFor(database);
  Result<SidecarRecord> record = Sidecar::Peek(name);
  if (!record.ok()) return record.status();
  TURSO_RETURN_IF_ERROR(MakeFit(database, *record, options, host.get()));
  TURSO_RETURN_IF_ERROR(ShareFiles(database, host.get()));
  Result<std::unique_ptr<Sidecar>> sidecar = Sidecar::Open(name);
  if (!sidecar.ok()) return sidecar.status();
  record = (*sidecar)->Read();
  if (!record.ok()) return record.status();
  Options chosen = options;
  const bool moves = !options.url.empty() && options.url != record->url;
  if (chosen.url.empty()) chosen.url = record->url;
  auto replica =
      std::make_shared<ReplicaImpl>(database, chosen, *std::move(sidecar), std::move(host));
  TURSO_RETURN_IF_ERROR(replica->Connect());
  if (moves) TURSO_RETURN_IF_ERROR(replica->MoveTo(options.url));
  return std::shared_ptr<Replica>(std::move(replica));
}

ReplicaImpl::ReplicaImpl(std::string path, Options options, std::unique_ptr<Sidecar> sidecar,
                         std::unique_ptr<ReplicaHost> host)
    : path_(std::move(path)),
      options_(std::move(options)),
      sidecar_(std::move(sidecar)),
      host_(std::move(host)) {}

ReplicaImpl::~ReplicaImpl() { Stop(); }

Status ReplicaImpl::Connect() {
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  SetIdentity(record->replica_id);
  url_ = options_.url;
  database_id_ = record->database_id;
  protocol_ = record->protocol;
  // What one protocol leaves half done, another takes for something else.
  if (options_.protocol != "auto" && !record->protocol.empty() &&
      options_.protocol != record->protocol) {
    return Status(Code::kInvalid, path_ + " is a replica by the protocol " + record->protocol +
                                      ", and not by " + options_.protocol +
                                      ": leave `protocol` out");
  }
  Endpoint endpoint{options_.url, options_.token, options_.token_file,
                    options_.protocol == "auto" ? record->protocol : options_.protocol};
  for (std::unique_ptr<Remote>* remote : {&asker_, &caller_, &follower_, &keeper_}) {
    Result<std::unique_ptr<Remote>> opened = OpenRemote(endpoint);
    if (!opened.ok()) return opened.status();
    *remote = *std::move(opened);
  }
  return OkStatus();
}

Status ReplicaImpl::MoveTo(const std::string& url) {
  const Call call = CallWith(nullptr);
  Result<Identity> identity = caller_->Identify(call);
  if (!identity.ok()) {
    return identity.status().While("moving the replica " + path_ + " to " + url);
  }
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  const std::string advice = "give the replica of that one a name of its own";
  if (identity->database_id != database_id_) {
    return Status(Code::kInvalid, path_ + " is a replica of database " + database_id_ +
                                      ", but at " + url + " is another one (" +
                                      identity->database_id + "); " + advice);
  }
  if (identity->is_ambiguous && !identity->knows_replica) {
    Result<Order> order = caller_->Compare(record->origin(), identity->revision, call);
    if (!order.ok()) return order.status();
    if (*order == Order::kUnrelated) {
      return Status(Code::kInvalid,
                    path_ + " is a replica of " + record->url + ", and at " + url +
                        " is another history, without a commit of this replica; nothing was "
                        "changed: " +
                        advice);
    }
  }
  return WithWriteLock(seconds(2), [&](WalFiles*) {
    Result<SidecarRecord> now = sidecar_->Read();
    if (!now.ok()) return now.status();
    now->url = url;
    return sidecar_->Write(&*now, turso::Sync::kYes);
  });
}

void ReplicaImpl::Start() {
  if (options_.sync != SyncMode::kOff) follow_thread_ = StartThread(&ReplicaImpl::Follow);
}

std::thread ReplicaImpl::StartThread(void (ReplicaImpl::*body)()) {
  // Signals are the application's, and so is the process: nothing that is thrown may end it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread([this, body] {
    ForkGate::Inside inside;
    while (!Stopping()) {
      try {
        (this->*body)();
      } catch (const std::exception& thrown) {
        Log(LogLevel::kError, path_ + ": " + thrown.what());
        ForkGate::Away away;
        std::this_thread::sleep_for(milliseconds(200));
      }
    }
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

void ReplicaImpl::Stop() {
  if (abandoned_ || stopping_.exchange(true)) return;
  if (keeper_ == nullptr) return;  // The last that Connect makes: it failed, and nothing was begun.
  {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  follower_->Cancel();
  keeper_->Cancel();
  if (follow_thread_.joinable()) follow_thread_.join();
  if (keep_thread_.joinable()) keep_thread_.join();
  sidecar_->Resign();
  // Nobody is left to give it back later, and others would wait for it to expire.
  ReleaseRestingLease(caller_.get(), milliseconds(500), Ending::kYes);
  {
    std::lock_guard lock(apply_mutex_);
    apply_files_.reset();
  }
  std::lock_guard lock(files_mutex_);
  own_files_.reset();
}

void ReplicaImpl::AbandonAfterFork() {
  abandoned_ = true;
  stopping_ = true;
  sidecar_->AbandonAfterFork();
  // They do not run in the child: nothing is left to join.
  if (follow_thread_.joinable()) follow_thread_.detach();
  if (keep_thread_.joinable()) keep_thread_.detach();
}

Call ReplicaImpl::CallWith(const Interrupted& interrupted) const {
  Call call;
  call.timeout = options_.timeout;
  call.interrupted = interrupted;
  call.cancelled = interrupted ? nullptr : &stopping_;
  call.replica = identity();
  return call;
}

ReplicaIdentity ReplicaImpl::identity() const {
  std::lock_guard lock(mutex_);
  return replica_id_;
}

void ReplicaImpl::SetIdentity(const ReplicaIdentity& id) {
  std::lock_guard lock(mutex_);
  replica_id_ = id;
}

void ReplicaImpl::Note(const Status& status) {
  bool is_new;
  {
    std::lock_guard lock(mutex_);
    is_new = last_error_ != status.text();
    last_error_ = status.text();
    if (status.code() == Code::kUnavailable) offline_since_ = Instant::Now();
  }
  // The follower meets the same failure again and again while the primary is away.
  if (is_new) Log(LogLevel::kWarning, status.text());
}

void ReplicaImpl::NoteReached() {
  std::lock_guard lock(mutex_);
  offline_since_ = Instant{};
  hopeless_ = Duration{};
}

Result<Revision> ReplicaImpl::CurrentRevision() {
  Result<WalIndexHeader> header = OwnHeader();
  if (!header.ok()) return header.status();
  return RevisionAt(header->position());
}

Result<Revision> ReplicaImpl::RevisionAt(const WalPosition& position) {
  WalPosition place = position;
  place.checksum = {};
  if (std::optional<Revision> revision = sidecar_->Recall(place)) return *revision;
  Result<SidecarRecord> record = sidecar_->Read();
  if (!record.ok()) return record.status();
  if (IsAsRecorded(*record, position)) {
    return record->current;
  }
  const Intent& intent = record->intent;
  if ((intent.kind == IntentKind::kPull || intent.kind == IntentKind::kCommitted) &&
      position.salts == intent.frames.salts && position.frames == intent.frames.last.value) {
    return intent.target;
  }
  return Status(Code::kNotFound,
                path_ + ": the revision of a snapshot this old is not known any more");
}

std::optional<Duration> ReplicaImpl::Lag() {
  const int64_t contact = sidecar_->shared().last_contact.load();
  if (contact == 0) return std::nullopt;
  return std::max(Duration{}, Instant::Now() - Instant{contact});
}

std::optional<std::string> ReplicaImpl::LastError() {
  std::lock_guard lock(mutex_);
  return last_error_;
}

ReplicaStatus ReplicaImpl::status() {
  ReplicaStatus status;
  SharedState& shared = sidecar_->shared();
  status.path = path_;
  if (Result<Revision> revision = CurrentRevision(); revision.ok())
    status.revision = revision->text();
  if (std::optional<Duration> lag = Lag()) status.lag_ms = *lag / milliseconds(1);
  if (int64_t sync = shared.last_sync.load(); sync != 0) {
    status.last_sync_ms = (Instant::Now() - Instant{sync}) / milliseconds(1);
  }
  status.lease =
      shared.lease_fence.load() == 0 || Instant{shared.lease_until.load()} < Instant::Now() ? "none"
      : shared.lease_idle_since.load() == 0                                                 ? "held"
                                            : "idle";
  Result<SidecarRecord> record = sidecar_->Read();
  // One that is under way in a process has the lease; without it, nobody waits for the answer.
  const bool settling =
      record.ok() && record->intent.kind == IntentKind::kCommit &&
      (status.lease != "held" || shared.unsettled.load() == record->intent.commit_number);
  // What cannot be looked at is told as 0 pages.
  (void)LookAtFiles([&](WalFiles* files, const WalIndexHeader& header) {
    Result<uint64_t> size = files->DatabaseSize();
    if (header.frames != 0) {
      status.page_count = header.db_size;
    } else if (size.ok() && record.ok() && record->page_size != 0) {
      status.page_count = static_cast<int64_t>(*size / record->page_size);
    }
    return OkStatus();
  });
  status.pages_present = status.page_count;
  for (const Remote* remote : {asker_.get(), caller_.get(), follower_.get(), keeper_.get()}) {
    status.round_trips += static_cast<int64_t>(remote->traffic().round_trips.load());
    status.bytes_sent += static_cast<int64_t>(remote->traffic().bytes_sent.load());
    status.bytes_received += static_cast<int64_t>(remote->traffic().bytes_received.load());
  }
  std::lock_guard lock(mutex_);
  status.url = url_;
  status.protocol = protocol_;
  status.database_id = database_id_;
  status.pulls = counters_.pulls;
  status.pages_pulled = counters_.pages_pulled;
  status.commits = counters_.commits;
  status.conflicts = counters_.conflicts;
  status.last_error = last_error_;
  const bool stale = options_.max_staleness.has_value() &&
                     (status.lag_ms < 0 || milliseconds(status.lag_ms) > *options_.max_staleness);
  // Another process may have heard the primary since then; or none, and it was for it to do so.
  const bool failed = offline_since_ != Instant{} && !HeardSince(offline_since_);
  const bool silent = options_.sync == SyncMode::kFollow && status.lag_ms >= 0 &&
                      milliseconds(status.lag_ms) > kSilence;
  const bool offline = failed || silent;
  status.state = settling ? "settling" : offline ? "offline" : stale ? "stale" : "live";
  return status;
}

}  // namespace turso
