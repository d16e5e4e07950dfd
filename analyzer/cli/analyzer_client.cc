#include "analyzer/cli/analyzer_client.h"

#include <fmt/format.h>

#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace consul_canary::cli {
namespace {

std::string ErrorText(const base::HttpResponse& response) {
  const auto json = nlohmann::json::parse(response.body, nullptr, false);
  if (!json.is_object() || !json.contains("error") || !json["error"].is_string()) {
    return response.body;
  }
  const auto fields = json.find("fields");
  if (fields == json.end() || !fields->is_array() || fields->empty()) {
    return json["error"].get<std::string>();
  }
  std::string text;
  for (const auto& field : *fields) {
    const int line = field.value("line", 0);
    text += fmt::format("{}{}{}: {}", text.empty() ? "" : "\n",
                        line > 0 ? fmt::format("line {}: ", line) : "", field.value("field", ""),
                        field.value("problem", ""));
  }
  return text;
}

ApiAnswer Read(const base::Result<base::HttpResponse>& response) {
  if (!response) {
    return tl::unexpected(
        ApiError{0, fmt::format("the analyzer does not answer: {}", response.error().message)});
  }
  constexpr int kSuccess = 2;
  constexpr int kClass = 100;
  if (response->status / kClass != kSuccess) {
    return tl::unexpected(ApiError{response->status, ErrorText(*response)});
  }
  return response->body;
}

}  // namespace

AnalyzerClient::AnalyzerClient(std::string url, std::string token)
    : url_(std::move(url)), token_(std::move(token)) {
  while (url_.ends_with('/')) url_.pop_back();
}

ApiAnswer AnalyzerClient::Call(const std::string& method, const std::string& path,
                               const std::string& body) {
  constexpr base::seconds kTimeout{15};
  return Ask(method, path, kTimeout, body).get();
}

std::future<ApiAnswer> AnalyzerClient::Ask(const std::string& method, const std::string& path,
                                           base::milliseconds timeout, const std::string& body) {
  base::HttpRequest request{.method = method, .url = url_ + path, .body = body};
  request.timeout = timeout;
  if (!token_.empty()) request.headers.push_back("Authorization: Bearer " + token_);
  auto promise = std::make_shared<std::promise<ApiAnswer>>();
  auto answer = promise->get_future();
  io_.loop().Post([this, promise, request = std::move(request)] {
    io_.loop().Start(request, [promise](const base::Result<base::HttpResponse>& response) {
      promise->set_value(Read(response));
    });
  });
  return answer;
}

void AnalyzerClient::Wait(base::milliseconds delay) {
  auto over = std::make_shared<std::promise<void>>();
  auto done = over->get_future();
  io_.loop().Post([this, delay, over] { io_.loop().After(delay, [over] { over->set_value(); }); });
  done.wait();
}

}  // namespace consul_canary::cli
