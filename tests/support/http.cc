#include "tests/support/http.h"

#include <fmt/format.h>

namespace consul_canary::testing {

using base::HttpResponse;
using base::Result;

Http::Http() : thread_(std::make_unique<base::IoThread>()) {}
Http::~Http() = default;

base::IoLoop& Http::loop() const { return thread_->loop(); }

Result<HttpResponse> Http::Call(std::string_view method, const std::string& url, std::string body,
                                std::vector<std::string> headers,
                                base::milliseconds timeout) const {
  base::HttpRequest request;
  request.method = method;
  request.url = url;
  request.body = std::move(body);
  request.headers = std::move(headers);
  request.timeout = timeout;
  return base::Fetch(thread_->loop(), std::move(request));
}

Result<std::string> Http::Get(const std::string& url) const {
  return BodyOf(Call("GET", url), "GET " + url);
}

bool Http::Answers(const std::string& url) const {
  const Result<HttpResponse> answer = Call("GET", url);
  return answer && answer->status == 200;
}

Result<std::string> BodyOf(const Result<HttpResponse>& answer, std::string_view what) {
  if (!answer) return tl::unexpected(answer.error());
  if (answer->status / 100 != 2) {
    return base::Fail(base::ErrorCode::kInvalid,
                      fmt::format("{}: {}: {}", what, answer->status, answer->body));
  }
  return answer->body;
}

}  // namespace consul_canary::testing
