#include "src/base/clock.h"
#include "src/http/http_client.h"
#include "src/remote/introduce.h"
#include "src/remote/libsql_remote.h"
#include "src/remote/primary_remote.h"
#include "src/remote/primary_url.h"
#include "src/remote/remote.h"

namespace turso {

namespace {

RemoteOpener& Opener() {
  static auto* opener = new RemoteOpener;
  return *opener;
}

}  // namespace

void SetRemoteOpener(RemoteOpener opener) { Opener() = std::move(opener); }

namespace {

// The namespace of a server that has several; one that has not ignores it.
std::string LibsqlDatabase(const PrimaryUrl& url) {
  if (!url.database.empty()) return url.database;
  // As libSQL's own clients have it: NAME-ORG.turso.io.
  const bool is_name =
      url.host.find_first_not_of("0123456789.") != std::string::npos && url.host[0] != '[';
  const size_t dot = url.host.find('.');
  return is_name && dot != std::string::npos ? url.host.substr(0, dot) : "default";
}

// Whether a failure to identify may mean that another protocol is the right one.
bool IsStranger(const Status& failure) {
  return failure.code() == Code::kUnavailable || failure.code() == Code::kCorrupt ||
         failure.code() == Code::kInvalid || failure.code() == Code::kNotFound;
}

// Whether the failure tells that the protocol was understood.
bool IsRefusal(const Status& failure) {
  return failure.code() == Code::kDenied || failure.code() == Code::kNotFound;
}

}  // namespace

Result<std::unique_ptr<Remote>> OpenRemote(const Endpoint& endpoint) {
  if (Opener()) return Opener()(endpoint);
  Result<PrimaryUrl> url = ParsePrimaryUrl(endpoint.url);
  if (!url.ok()) return url.status();
  const std::string& protocol = endpoint.protocol;
  const std::string token = endpoint.token.empty() ? url->token : endpoint.token;
  if (protocol == "libsql-sync" || protocol == "pull-updates") {
    return InvalidPrimaryUrl(endpoint.url, "protocol " + protocol +
                                               " is not in this version; auto, primary and libsql "
                                               "are");
  }
  if (protocol == "libsql") {
    return std::unique_ptr<Remote>(std::make_unique<LibsqlRemote>(
        LibsqlAddress{url->origin, LibsqlDatabase(*url), token, endpoint.token_file}));
  }
  if (protocol != "auto" && protocol != "primary") {
    return InvalidPrimaryUrl(
        endpoint.url, "unknown protocol \"" + protocol + "\"; auto, primary and libsql are known");
  }
  PrimaryAddress address;
  address.base = url->base;
  address.token = token;
  address.token_file = endpoint.token_file;
  // On loopback bytes cost less than packing them.
  address.codec = IsLoopback(url->host) ? PageCodec::kRaw : PageCodec::kLz4;
  return std::unique_ptr<Remote>(std::make_unique<PrimaryRemote>(std::move(address)));
}

Result<Introduction> Introduce(const Endpoint& endpoint, const Call& call) {
  Result<std::unique_ptr<Remote>> remote = OpenRemote(endpoint);
  if (!remote.ok()) return remote.status();
  const Instant began = Instant::Now();
  Result<Identity> identity = (*remote)->Identify(call);
  // Both questions together may take what one may: a server that is silent is silent in any
  // protocol.
  Call second = call;
  second.timeout = call.timeout - (Instant::Now() - began);
  const bool has_time = second.timeout > Duration::zero();
  if (!identity.ok() && endpoint.protocol == "auto" && IsStranger(identity.status()) && has_time) {
    Endpoint other = endpoint;
    other.protocol = "libsql";
    Result<std::unique_ptr<Remote>> libsql = OpenRemote(other);
    if (!libsql.ok()) return libsql.status();
    Result<Identity> theirs = (*libsql)->Identify(second);
    if (theirs.ok() || IsRefusal(theirs.status())) {
      remote = std::move(libsql);
      identity = std::move(theirs);
    }
  }
  if (!identity.ok()) return identity.status();
  return Introduction{*std::move(remote), *std::move(identity)};
}

}  // namespace turso
