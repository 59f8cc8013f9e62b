// Servers that have too much to do, and say when to come again.
// https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
//
//   429   turned away, before anything was done
//   503   so too, or from a gateway that has passed the request on before: who may not send it
//         twice does not come again

#ifndef TURSO_SRC_REMOTE_COME_AGAIN_H_
#define TURSO_SRC_REMOTE_COME_AGAIN_H_

#include "src/http/http_client.h"
#include "src/remote/remote.h"

namespace turso {

// Whether the outcome of `request` is that it may be sent again, and within `left`.
bool MayComeAgain(const HttpRequest& request, const HttpOutcome& outcome, Duration left);

// An exchange, again as often as the server asks for that and patience lasts. The last outcome;
// `traffic` has them all. One thread.
HttpOutcome ExchangeAndComeAgain(const HttpRequest& request, const Patience& patience,
                                 HttpClient* http, Remote::Traffic* traffic);

}  // namespace turso

#endif  // TURSO_SRC_REMOTE_COME_AGAIN_H_
