// What both daemons have in common: signals, the pages that every exporter serves, what the kernel
// says of the process, and durations on the command line.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/base/clock.h"
#include "exporter/base/http_server.h"
#include "exporter/base/metrics_format.h"
#include "exporter/base/result.h"

namespace consul_canary::base {

// Blocks SIGTERM, SIGINT and SIGHUP for the calling thread and the threads that it starts from then
// on, and ignores SIGPIPE. To be called first in main, before any thread.
void BlockSignals();

// Has memory given back to the kernel when a large page, of a sidecar or of ours, is done with.
// Left to itself glibc puts such pages among everything else once the first was freed, and what a
// minute of many took stays resident. To be called in main, before any thread.
void ReturnFreedMemory();

// Waits for SIGTERM or SIGINT; calls `on_reload` for each SIGHUP before that. The one place where
// main waits.
void WaitForEnd(const std::function<void()>& on_reload);

struct PageLink {
  std::string path;
  std::string title;
};

// What the common pages show. The functions are called on the server's workers, several at once.
struct DaemonPages {
  std::string name;     // consul-canary-exporter
  std::string version;  // 0.1.0
  std::string telemetry_path = "/metrics";
  std::vector<PageLink> links;  // on the landing page, besides those of this file
  std::function<std::string(MetricsSyntax)> metrics;
  std::function<std::optional<std::string>()> why_not_ready;  // nullopt: ready
  std::function<Result<void>()> reload;  // kInvalid: what was to be read is wrong
};

// Answers `/`, the telemetry path, `/-/healthy`, `/-/ready` and `POST /-/reload` (400 with the
// error where a file is wrong, 500 where it cannot be read); nullopt for every other path.
[[nodiscard]] std::optional<ServerResponse> AnswerCommonPages(const DaemonPages& pages,
                                                              const ServerRequest& request);

// Of this process, from /proc; what cannot be read is 0.
struct ProcessStats {
  double cpu_seconds = 0;
  double start_time_seconds = 0;  // since the epoch
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t max_virtual_bytes = 0;  // the largest number where there is no limit
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
};
[[nodiscard]] ProcessStats ReadProcessStats();

// A whole number and ms, s, m or h: 500ms, 1s. kInvalid says so.
[[nodiscard]] Result<milliseconds> ParseDuration(std::string_view text);

}  // namespace consul_canary::base
