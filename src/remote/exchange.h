// What a call to a remote is to an HTTP exchange, and the exchange to the remote's traffic.

#ifndef TURSO_SRC_REMOTE_EXCHANGE_H_
#define TURSO_SRC_REMOTE_EXCHANGE_H_

#include "src/http/http_client.h"
#include "src/remote/remote.h"

namespace turso {

inline Patience PatienceOf(const Call& call) {
  return {call.timeout, call.interrupted, call.cancelled};
}

inline void CountExchange(const HttpOutcome& outcome, Remote::Traffic* traffic) {
  traffic->round_trips += outcome.sent ? 1 : 0;
  traffic->bytes_sent += outcome.bytes_sent;
  traffic->bytes_received += outcome.bytes_received;
}

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_EXCHANGE_H_
