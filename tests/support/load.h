// Open-loop load: requests leave at their planned times whether or not earlier ones were answered,
// as real callers do, so that a slow or hanging instance does not slow the load that judges it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::testing {

struct LoadOptions {
  std::string url;
  double rate = 100;                              // requests a second
  base::milliseconds timeout = base::seconds(5);  // an answer later than this counts as failed
  std::vector<std::string> headers{};             // of each request: "X-Canary: always"
};

struct LoadCounts {
  std::int64_t sent = 0;
  std::int64_t completed = 0;                        // answered, failed or timed out
  std::int64_t failed = 0;                           // status 500 and above, no answer, or too late
  std::map<int, std::int64_t> by_status{};           // 0: no answer
  std::map<std::string, std::int64_t> by_version{};  // header X-App-Version; "": none
  std::map<std::string, std::int64_t> failed_by_version{};
  std::int64_t max_in_flight = 0;
};

// The requests that were answered, failed or timed out from a moment on.
struct LoadSpan {
  std::int64_t completed = 0;
  std::int64_t failed = 0;
  double p99_ms = 0;  // of the time until the answer; 0 without a request
};

class Load {
 public:
  // Sends from the first moment until Stop() or the destructor; the first request at once.
  explicit Load(LoadOptions options);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // From now on. Any thread.
  void SetRate(double rate);

  // Sends no more, and waits until all that was sent is answered or timed out. Idempotent.
  void Stop();

  [[nodiscard]] LoadCounts Counts() const;

  // By when the answer was *seen*.
  [[nodiscard]] LoadSpan Since(base::MonotonicTime since) const;

  // Waits until `count` more requests than now are completed; false when that takes longer than
  // `limit`.
  [[nodiscard]] bool WaitForMore(std::int64_t count, base::milliseconds limit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace consul_canary::testing
