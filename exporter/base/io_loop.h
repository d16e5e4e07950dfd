// The one HTTP client: an event loop on libcurl's multi interface. Everything that talks to Consul
// or to a sidecar runs as callbacks on the thread that calls Run(); nothing else waits.
//
// Threads: Post() and Fetch() may be called from any thread; every other member only from the
// loop's own thread (from callbacks), or before Run() starts. Callbacks must not block and must not
// throw.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "exporter/base/clock.h"
#include "exporter/base/result.h"

namespace consul_canary::base {

// Used for https targets only. Empty paths mean the system's defaults and no client certificate.
struct TlsOptions {
  std::string ca_file{};
  std::string cert_file{};
  std::string key_file{};
  bool verify = true;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url{};                   // absolute, already percent-encoded
  std::vector<std::string> headers{};  // "Name: value"
  std::string body{};
  milliseconds connect_timeout{1000};
  milliseconds timeout{5000};                   // whole exchange, connecting included
  std::size_t max_response_bytes = 16u << 20u;  // more is an error, not a truncated body
  TlsOptions tls{};
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers{};  // names in lower case; the last of equal names
  std::string body{};
};

// `GET http://host/path`, without query: how errors name a request (queries may hold secrets).
[[nodiscard]] std::string Describe(const HttpRequest& request);

// Percent-encodes everything but RFC 3986's unreserved characters.
[[nodiscard]] std::string UrlEncode(std::string_view text);

class IoLoop {
 public:
  // Any HTTP status is a response; an Error (always kUnavailable, or kInvalid for a body over the
  // size limit and an unusable URL) means that no complete response came.
  using HttpCallback = std::function<void(Result<HttpResponse>)>;
  using Id = std::uint64_t;  // of a transfer or a timer; never reused, never 0

  IoLoop();
  ~IoLoop();  // pending callbacks are dropped, not called
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  // Starts a transfer. The callback is called once, from the loop, never from inside Start().
  Id Start(HttpRequest request, HttpCallback callback);

  // Calls `task` once, `delay` from now.
  Id After(milliseconds delay, std::function<void()> task);

  // Forgets a transfer or timer; its callback will not be called. Unknown ids are ignored.
  void Cancel(Id id);

  // Runs `task` on the loop's thread, soon. Any thread. Tasks posted after Run() ended never run.
  void Post(std::function<void()> task);

  // Runs until `stop` is requested.
  void Run(const std::stop_token& stop);

 private:
  friend Result<HttpResponse> Fetch(IoLoop& loop, HttpRequest request);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// An IoLoop on a thread of its own, stopped and joined by the destructor. Members that outlive the
// callbacks' captures must be destroyed after it.
class IoThread {
 public:
  IoThread();
  ~IoThread();
  [[nodiscard]] IoLoop& loop() { return loop_; }
  void Stop();  // idempotent; joins

 private:
  IoLoop loop_;
  std::jthread thread_;
};

// Blocking call for the command line, tests and server workers: runs the request on `loop`, which
// must be running on another thread, and waits for the answer. Returns kUnavailable when the loop
// ends first or after the request's own time-out has passed.
[[nodiscard]] Result<HttpResponse> Fetch(IoLoop& loop, HttpRequest request);

}  // namespace consul_canary::base
