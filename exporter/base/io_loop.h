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
  std::string ca_folder{};  // as c_rehash leaves it; beside ca_file
  std::string cert_file{};
  std::string key_file{};
  // Not empty: the name that is asked for (SNI) and that the certificate must bear, in place of the
  // URL's host.
  std::string server_name{};
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
  // Requests of one pool share its idle connections. Whoever asks hundreds of hosts again and again
  // numbers pools of at most 200 hosts, and always asks a host in the same one; else its connection
  // is not found again, or the pool closes it for want of room. The numbers should be small.
  std::uint32_t pool = 0;
  std::size_t expected_bytes = 0;  // of the body, where its length is not told; a guess
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers{};  // names in lower case; the last of equal names
  std::string body{};
};

enum class PageOutcome {
  kAnswered,      // complete, with whatever status
  kNotConnected,  // nobody took the connection, in time or at all
  kTimedOut,      // connected, but not complete in time
  kTooLarge,      // more than max_response_bytes
  kBroken,        // closed before its end, or no HTTP
  kBadUrl,
};

// What came of a request for a page. The views are valid only during the callback.
struct Page {
  PageOutcome outcome = PageOutcome::kAnswered;
  int status = 0;                       // 0: none came
  std::string_view content_type{};      // as sent, with parameters; empty: none came
  std::string_view content_encoding{};  // none is asked for, and none is decoded
  std::string_view body{};              // what came of it
  std::string_view reason{};            // why it is not answered, in libcurl's words
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
  using PageCallback = std::function<void(const Page&)>;
  using Id = std::uint64_t;  // of a transfer or a timer; never reused, never 0

  IoLoop();
  ~IoLoop();  // pending callbacks are dropped, not called
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  // Starts a transfer. The callback is called once, from the loop, never from inside Start().
  Id Start(HttpRequest request, HttpCallback callback);

  // The same for thousands of pages a second, each of which is looked at once: its memory is used
  // again, and headers are not collected. `request` is a plain GET over http, without headers.
  Id Read(const HttpRequest& request, PageCallback callback);

  // Closes the idle connections of a pool of which no transfer is under way.
  void ClosePool(std::uint32_t pool);

  // How many files this process may have open, after the constructor has raised the limit.
  [[nodiscard]] static std::size_t OpenFileLimit();

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
