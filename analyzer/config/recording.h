// Recordings of a rollout's ticks: one JSON object a line, as docs/recordings.md describes. The
// only place that parses and writes them. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"
#include "analyzer/stats/counts.h"
#include "analyzer/stats/dispersion.h"
#include "analyzer/stats/latency.h"
#include "exporter/base/result.h"

namespace consul_canary::config {

struct RecordedTick {
  double t = 0;                // seconds, not descending
  double elapsed_seconds = 0;  // ruled time of this tick
  double unruled_seconds = 0;  // before that: nobody ruled
  // `late` is the canary's alone.
  rollout::TickCounts counts;
  stats::InstanceCounts canary_instances;
  std::optional<double> weight_percent;  // that the canary had; 0 before the first step: it waits
  bool applied = true;                   // the sidecars apply the weight
  int canary_passing = 1;                // the canary's passing instances
  std::uint64_t ejections = 0;           // of these, ejected by outlier detection
  double age_seconds = 0;                // of the outcomes
  bool doubtful = false;                 // as Observation::doubtful
  std::string unknown;                   // as Observation::unknown
  // Without sequences; alert_started_wall_seconds is on the clock of t, where the rollout began at
  // 0.
  std::vector<rollout::Order> orders;

  bool operator==(const RecordedTick&) const = default;
};

struct Recording {
  rollout::Spec spec;
  stats::Counts primary_history;
  // nullopt: not said. Then the edges of the ticks' histograms are watched, all and from the start.
  std::optional<stats::LatencyCounts> primary_latency_history;
  // What `late` is later than, where no latency history says so; 0: hanging requests are not told.
  double late_after_seconds = 0;
  stats::DispersionState dispersion;  // learned of the primary before; without open windows
  double attempts_together = 1;       // as Observation::attempts_together
  std::vector<RecordedTick> ticks;
  // Keys that were read and that this version does not judge: instances.canary.
  std::vector<std::string> not_judged;

  bool operator==(const Recording&) const = default;
};

// kInvalid names the line and the field. Nothing is skipped: a recording that is wrong in one line
// is wrong. A tick without `elapsed` has the time since the one before, the first one a second.
[[nodiscard]] base::Result<Recording> ParseRecording(std::string_view text);

// The first line, and the line of one tick, with their newlines: ParseRecording reads what they
// hold back to equal values (text that is not UTF-8 aside: its wrong bytes are replaced).
// Precondition: the specification is one that ToJson takes; every number is finite and none is
// negative; counts keep their invariants and are at most 2^53; instances have different names, and
// those that occur in both lists of a tick come first in both, in the same order; ticks have late
// requests only if late_after_seconds or a latency history is given, which exclude each other.
[[nodiscard]] std::string RecordingHeader(const Recording& recording);
[[nodiscard]] std::string RecordingLine(const RecordedTick& tick);

// How an edge of a histogram is named in a recording: "250ms" for .25. Read back to the same
// double.
[[nodiscard]] std::string EdgeText(double edge_seconds);

}  // namespace consul_canary::config
