// Recordings of a rollout's ticks: one JSON object a line, as docs/recordings.md describes. The
// only place that parses them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"
#include "analyzer/stats/counts.h"
#include "exporter/base/result.h"

namespace consul_canary::config {

struct RecordedTick {
  double t = 0;  // seconds, not descending
  stats::Counts primary;
  stats::Counts canary;
  double weight_percent = 0;
  bool applied = true;     // the sidecars apply the weight
  bool healthy = true;     // the canary has passing instances
  double age_seconds = 0;  // of the outcomes
  std::vector<rollout::Order> orders;

  bool operator==(const RecordedTick&) const = default;
};

struct Recording {
  rollout::Spec spec;
  stats::Counts primary_history;
  std::vector<RecordedTick> ticks;
  std::vector<std::string>
      not_judged;  // keys that this version reads but does not judge (slower, instances, …)

  bool operator==(const Recording&) const = default;
};

// kInvalid names the line and the field. Nothing is skipped: a recording that is wrong in one line
// is wrong.
[[nodiscard]] base::Result<Recording> ParseRecording(std::string_view text);

}  // namespace consul_canary::config
