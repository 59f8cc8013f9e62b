#include "src/http/http_client.h"
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

Result<std::unique_ptr<Remote>> OpenRemote(const Endpoint& endpoint) {
  if (Opener()) return Opener()(endpoint);
  Result<PrimaryUrl> url = ParsePrimaryUrl(endpoint.url);
  if (!url.ok()) return url.status();
  const std::string& protocol = endpoint.protocol;
  if (protocol == "libsql" || protocol == "libsql-sync" || protocol == "pull-updates") {
    return InvalidPrimaryUrl(
        endpoint.url, "protocol " + protocol + " is not in this version; auto and primary are");
  }
  if (protocol != "auto" && protocol != "primary") {
    return InvalidPrimaryUrl(endpoint.url,
                             "unknown protocol \"" + protocol + "\"; auto and primary are known");
  }
  PrimaryAddress address;
  address.base = url->base;
  address.token = endpoint.token.empty() ? url->token : endpoint.token;
  address.token_file = endpoint.token_file;
  // On loopback bytes cost less than packing them.
  address.codec = IsLoopback(url->host) ? PageCodec::kRaw : PageCodec::kLz4;
  return std::unique_ptr<Remote>(std::make_unique<PrimaryRemote>(std::move(address)));
}

}  // namespace turso
