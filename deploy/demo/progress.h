// The rollout as the analyzer's API tells it, and the lines that show it live.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "exporter/base/clock.h"

namespace consul_canary::demo {

// What of `GET /api/v1/rollouts/api` the demo looks at. Keys that are missing keep these values.
struct Status {
  std::string phase = "unknown";
  std::string stage{};
  int step = 0;  // 1 is the first; 0: none
  int steps = 0;
  double weight = 0;  // percent, as wanted
  std::string reason{};
  std::string problem{};
  std::string unknown{};
  std::string canary_version{};
  std::optional<double> log_harm{};
  std::optional<double> log_safe{};
  std::optional<double> harm_bound{};
  std::optional<double> safe_bound{};

  [[nodiscard]] bool Finished() const;
};

// nullopt: not JSON.
[[nodiscard]] std::optional<Status> ParseStatus(std::string_view json);

// Writes to stderr: a line for each change, and on a terminal one more that is rewritten each
// second.
class Progress {
 public:
  Progress();

  // A line of its own.
  void Say(std::string_view text);

  void Show(const Status& status, std::int64_t requests, std::int64_t failed);

 private:
  void Rewrite(std::string_view text);

  const base::MonotonicTime start_;
  const bool terminal_;
  bool line_open_ = false;  // the rewritten line stands without its end
  std::string last_change_;
  base::MonotonicTime last_rewrite_{};
};

}  // namespace consul_canary::demo
