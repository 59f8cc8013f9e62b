#include "src/remote/hrana_client.h"

#include <utility>

#include "src/base/printable.h"
#include "src/remote/come_again.h"
#include "src/remote/exchange.h"

namespace turso {

namespace {

constexpr size_t kAnswerMax = 16u << 20;  // The server itself ends one at 10 MB.

}  // namespace

HranaClient::HranaClient(const LibsqlAddress& address, Remote::Traffic* traffic)
    : address_(address), traffic_(traffic), token_(address.token, address.token_file) {}

Result<std::vector<HranaResult>> HranaClient::Ask(const HranaRequest& request, HranaStream* stream,
                                                  bool* sent, const Call& call) {
  TURSO_RETURN_IF_ERROR(token_.Load());
  HranaStream before = *stream;
  Result<std::vector<HranaResult>> answer = AskOnce(request, stream, sent, call);
  // The server has not seen the baton.
  if (answer.status().code() == Code::kFull) *stream = before;
  if (answer.status().code() != Code::kDenied) return answer;
  // Refused before anything ran.
  *sent = false;
  Result<bool> renewed = token_.Renew();
  if (!renewed.ok()) return renewed.status();
  if (!*renewed || !before.baton.empty()) return answer;
  return AskOnce(request, stream, sent, call);
}

Result<std::vector<HranaResult>> HranaClient::AskOnce(const HranaRequest& request,
                                                      HranaStream* stream, bool* sent,
                                                      const Call& call) {
  // The token is for the server that the user named.
  if (!stream->base_url.empty() && stream->base_url != address_.base &&
      stream->base_url != address_.base + "/") {
    *sent = false;
    return Status(Code::kUnavailable, address_.base + ": wants to be asked at " +
                                          Printable(stream->base_url) +
                                          " from now on; use that as URL");
  }
  request_.url = address_.base + "/v3-protobuf/pipeline";
  request_.content_type = "application/x-protobuf";
  request_.headers = LibsqlHeaders(address_);
  request_.token = token_.text();
  request_.answer_max = kAnswerMax;
  request_.body = request.Body(stream->baton);
  request_.repeat = stream->baton.empty() ? Repeat::kOnce : Repeat::kNever;
  *stream = {};
  HttpOutcome outcome = ExchangeAndComeAgain(request_, PatienceOf(call), &http_, traffic_);
  request_.body = {};
  const bool turned_away = outcome.status.ok() && outcome.answer.status == 429;
  *sent = outcome.sent && !turned_away;
  if (!outcome.status.ok()) return outcome.status;
  if (outcome.answer.status != 200) return LibsqlRefusal(request_.url, outcome.answer);
  Result<HranaAnswer> answer = ParseHranaAnswer(AsBytes(outcome.answer.body), request.size());
  if (!answer.ok()) return answer.status().While(request_.url);
  *stream = std::move(answer->stream);
  return std::move(answer->results);
}

Status HranaClient::Rest(Duration duration, const Call& call) {
  return http_.Rest(duration, PatienceOf(call));
}

}  // namespace turso
