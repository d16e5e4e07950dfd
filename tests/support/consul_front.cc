#include "tests/support/consul_front.h"

#include <utility>
#include <vector>

#include "exporter/base/io_loop.h"

namespace consul_canary::testing {

using base::ServerRequest;
using base::ServerResponse;

base::Result<std::unique_ptr<ConsulFront>> ConsulFront::Start(
    std::string consul_address, std::function<bool(const ServerRequest&)> refuses) {
  std::unique_ptr<ConsulFront> front(
      new ConsulFront(std::move(consul_address), std::move(refuses)));
  // A client waits with a dozen blocking queries at once.
  constexpr std::size_t kThreads = 48;
  auto server = base::HttpServer::Start(
      {.listen_addresses = {"127.0.0.1:0"}, .threads = kThreads},
      [front = front.get()](const ServerRequest& request) { return front->Answer(request); });
  if (!server) return tl::unexpected(server.error());
  front->server_ = std::move(*server);
  return front;
}

std::string ConsulFront::address() const {
  return "http://127.0.0.1:" + std::to_string(server_->ports().front());
}

ServerResponse ConsulFront::Answer(const ServerRequest& request) {
  if (refuses_(request)) {
    ++refused_;
    return {.status = 500, .content_type = "text/plain", .body = "refused by a test"};
  }
  std::string url = consul_ + request.path;
  char separator = '?';
  for (const auto& [key, value] : request.query) {
    url += std::exchange(separator, '&') + key + "=";
    url += key == "wait" ? "1s" : base::UrlEncode(value);
  }
  const auto answer = http_.Call(request.method, url, request.body, {}, base::seconds(15));
  if (!answer) return {.status = 503, .content_type = "text/plain", .body = answer.error().message};
  ServerResponse response{.status = answer->status, .body = answer->body};
  for (const auto& [name, value] : answer->headers) {
    if (name.starts_with("x-consul-")) response.headers[name] = value;
  }
  return response;
}

}  // namespace consul_canary::testing
