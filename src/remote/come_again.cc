#include "src/remote/come_again.h"

#include "src/remote/exchange.h"

namespace turso {

bool MayComeAgain(const HttpRequest& request, const HttpOutcome& outcome, Duration left) {
  if (!outcome.status.ok()) return false;
  const HttpAnswer& answer = outcome.answer;
  const bool only_once = request.repeat == Repeat::kNever;
  if (answer.status != 429 && (answer.status != 503 || only_once)) return false;
  return answer.retry_after && *answer.retry_after < left;
}

HttpOutcome ExchangeAndComeAgain(const HttpRequest& request, const Patience& patience,
                                 HttpClient* http, Remote::Traffic* traffic) {
  const Instant end = Instant::Now() + patience.timeout;
  Patience rest = patience;
  for (;;) {
    HttpOutcome outcome = http->Exchange(request, rest);
    CountExchange(outcome, traffic);
    if (!MayComeAgain(request, outcome, end - Instant::Now())) return outcome;
    outcome.status = http->Rest(*outcome.answer.retry_after, patience).While(request.url);
    if (!outcome.status.ok()) {
      outcome.sent = false;  // It was turned away.
      return outcome;
    }
    rest.timeout = end - Instant::Now();
  }
}

}  // namespace turso
