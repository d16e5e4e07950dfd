// The one HTTP server: civetweb behind values. Plain HTTP only (Debian's civetweb 1.15 crashes on
// its first TLS request with OpenSSL 3); TLS comes from the mesh or from a proxy in front.
//
// Handlers run on civetweb's worker threads, several at once: they read immutable snapshots and
// must not block for longer than a request to Consul takes.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "exporter/base/result.h"

namespace consul_canary::base {

struct ServerRequest {
  std::string method{};
  std::string path{};                            // decoded, without query
  std::map<std::string, std::string> query{};    // decoded
  std::map<std::string, std::string> headers{};  // names in lower case
  std::string body{};
  bool from_loopback = false;
};

struct ServerResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body{};
  std::map<std::string, std::string> headers{};  // further ones
};

struct ServerOptions {
  std::vector<std::string> listen_addresses{};  // "127.0.0.1:9656", ":9656"; port 0: any
  std::size_t threads = 16;
  std::size_t max_body_bytes = 1u << 20u;  // more is answered 413
};

class HttpServer {
 public:
  using Handler = std::function<ServerResponse(const ServerRequest&)>;

  // One handler for every path and method; it answers 404 and 405 itself. An address that cannot
  // be bound is an error that names it. An exception from the handler is answered 500 and logged.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> Start(const ServerOptions& options,
                                                                 Handler handler);
  ~HttpServer();  // stops accepting, waits for running handlers
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // The ports really bound, in the order of listen_addresses.
  [[nodiscard]] const std::vector<int>& ports() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// {"error": message}, with the status that fits the code: 400, 403, 404, 409, 503.
[[nodiscard]] ServerResponse ErrorResponse(const Error& error);

}  // namespace consul_canary::base
