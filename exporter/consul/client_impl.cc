#include "exporter/consul/client_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>

#include "exporter/consul/answers.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::HttpResponse;
using base::Result;

constexpr std::size_t kLongestReason = 300;

// One blank for each run of blanks, line breaks and other control characters; none at the ends.
std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool blank = byte <= 0x20 || byte == 0x7f;
    if (!blank) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

// Cut where a character ends, not in its middle.
void Shorten(std::string& text, std::size_t longest) {
  if (text.size() <= longest) return;
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;
  text.resize(end);
  text += " …";
}

// Consul's words on one line, shortened, without the token.
std::string Reason(const Call& call, std::string_view body, std::string_view token) {
  std::string text = call.path.starts_with("/v1/txn") ? TxnErrors(body) : std::string();
  text = OneLine(text.empty() ? body.substr(0, 4 * kLongestReason) : std::string_view(text));
  if (!token.empty()) {
    for (std::size_t at = text.find(token); at != std::string::npos; at = text.find(token, at)) {
      text.replace(at, token.size(), "[token]");
    }
  }
  Shorten(text, kLongestReason);
  return text;
}

// Consul answers 500 both to a bad entry and to a missing leader. These are its words for what
// passes (consul: agent/structs/errors.go, agent/pool, hashicorp/raft, Go's net package).
bool IsPassing(std::string_view reason) {
  constexpr std::array<std::string_view, 22> kPassing{"no cluster leader",
                                                      "no path to datacenter",
                                                      "no server currently reachable",
                                                      "no known consul servers",
                                                      "not ready to serve consistent reads",
                                                      "rate limit exceeded",
                                                      "raft leader not found",
                                                      "not the leader",
                                                      "leadership lost",
                                                      "leadership transfer",
                                                      "raft is already shutdown",
                                                      "rpc error getting client",
                                                      "timed out",
                                                      "i/o timeout",
                                                      "deadline exceeded",
                                                      "context canceled",
                                                      "connection reset",
                                                      "connection refused",
                                                      "broken pipe",
                                                      "stream closed",
                                                      "session shutdown",
                                                      "failed to dial"};
  std::string lower(reason);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.ends_with("eof") ||
         std::any_of(kPassing.begin(), kPassing.end(), [&](std::string_view words) {
           return lower.find(words) != std::string::npos;
         });
}

ErrorCode ToErrorCode(const Call& call, int status, std::string_view reason) {
  if (status == 404) return ErrorCode::kNotFound;
  if (status == 401 || status == 403) return ErrorCode::kForbidden;
  // A transaction says for each of its operations what stands against it.
  if (status == 409 && !MissingRule(reason).empty()) return ErrorCode::kForbidden;
  if (status == 409) return ErrorCode::kConflict;
  // What Consul 1.16.3 answers 500 to although no retry helps: a lock for a session that is gone, a
  // filter that is no expression.
  if (status == 500 && reason.find("invalid session") != std::string_view::npos) {
    return ErrorCode::kNotFound;
  }
  if (status == 500 && reason.find("boolean expression") != std::string_view::npos) {
    return ErrorCode::kInvalid;
  }
  if (status == 500 && call.method != "GET" && call.path.starts_with("/v1/config")) {
    return IsPassing(reason) ? ErrorCode::kUnavailable : ErrorCode::kInvalid;
  }
  return status == 429 || status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalid;
}

std::string_view ResultName(const base::Error* error) {
  if (error == nullptr) return "ok";
  switch (error->code) {
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kNotFound:
      return "not-found";
    case ErrorCode::kForbidden:
      return "forbidden";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kInvalid:
      break;
  }
  return "invalid";
}

// The path of a blocking query as it was before watch.cc added to it.
std::string WithoutIndex(const std::string& path) {
  std::size_t end = path.size();
  for (const char* added : {"?index=", "&index=", "?consistent", "&consistent"}) {
    end = std::min(end, path.rfind(added));
  }
  return path.substr(0, end);
}

void AddParameter(std::string& url, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  url += url.find('?') == std::string::npos ? '?' : '&';
  url += fmt::format("{}={}", name, base::UrlEncode(value));
}

}  // namespace

std::string Name(const Call& call) {
  const std::string_view path = std::string_view(call.path).substr(0, call.path.find('?'));
  return call.target.empty() ? fmt::format("{} {}", call.method, path)
                             : fmt::format("{} {} {}", call.method, path, call.target);
}

Result<HttpResponse> CheckStatus(const Call& call, HttpResponse response, std::string_view token) {
  const int status = response.status;
  if (status >= 200 && status < 300) return response;
  if (status == 404 && call.absence_is_an_answer) return response;
  const std::string reason = Reason(call, response.body, token);
  const std::string remedy = RemedyForAnswer(status, reason);
  return base::Fail(ToErrorCode(call, status, reason),
                    fmt::format("{}: {}{}{}{}{}", Name(call), status, reason.empty() ? "" : " ",
                                reason, remedy.empty() ? "" : "; ", remedy));
}

Client::Impl::Impl(base::IoLoop& io_loop, Settings client_settings, Observer client_observer)
    : loop(io_loop),
      settings(std::move(client_settings)),
      observer(std::move(client_observer)),
      token(settings.token, settings.token_file) {
  if (settings.address.find("://") == std::string::npos) {
    settings.address.insert(0, "http://");
  }
  while (settings.address.ends_with('/')) settings.address.pop_back();
}

base::HttpRequest Client::Impl::ToRequest(const Call& call, const std::string& token_value) const {
  base::HttpRequest request;
  request.method = call.method;
  request.url = settings.address + call.path;
  AddParameter(request.url, "dc", settings.datacenter);
  AddParameter(request.url, "ns", settings.namespace_name);
  AddParameter(request.url, "partition", settings.partition);
  if (!token_value.empty()) request.headers.push_back("X-Consul-Token: " + token_value);
  request.body = call.body;
  request.timeout = call.timeout;
  request.tls = settings.tls;
  return request;
}

base::IoLoop::Id Client::Impl::Send(Call call, Reply<HttpResponse> reply) {
  Result<std::string> current = token.Current();
  if (!current) {
    base::Error error{current.error().code, Name(call) + ": " + current.error().message};
    return loop.After(base::milliseconds{0}, [weak = weak_from_this(), error = std::move(error),
                                              reply = std::move(reply)] {
      if (weak.lock()) reply(tl::unexpected(error));
    });
  }
  base::HttpRequest request = ToRequest(call, *current);
  return loop.Start(std::move(request),
                    [weak = weak_from_this(), call = std::move(call), used = *std::move(current),
                     reply = std::move(reply)](Result<HttpResponse> response) {
                      const std::shared_ptr<Impl> self = weak.lock();
                      if (!self) return;
                      reply(self->Judge(call, used, std::move(response)));
                    });
}

Result<HttpResponse> Client::Impl::Judge(const Call& call, std::string_view sent_token,
                                         Result<HttpResponse> response) {
  if (!response) {
    if (const std::string remedy = RemedyForFailure(response.error().message); !remedy.empty()) {
      response.error().message += "; " + remedy;
    }
    return response;
  }
  const auto filtered = response->headers.find("x-consul-results-filtered-by-acls");
  const bool left_out = filtered != response->headers.end() && filtered->second == "true";
  Result<HttpResponse> checked = CheckStatus(call, *std::move(response), sent_token);
  std::string rule = left_out ? RuleToSeeAll(call.path) : "";
  if (!checked && checked.error().code == ErrorCode::kForbidden) {
    rule = MissingRule(checked.error().message);
  }
  refusals.Note(call.method + WithoutIndex(call.path), {Name(call), rule, left_out},
                std::chrono::steady_clock::now());
  return checked;
}

void Client::Impl::Observe(std::string_view operation, const base::Error* error) const {
  if (observer) observer(operation, ResultName(error));
}

}  // namespace consul_canary::consul
