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

// The splitter where it is not as the rollout wants it, in percent.
struct RecordedSplitter {
  double canary_percent = 0;
  double primary_percent = 0;

  bool operator==(const RecordedSplitter&) const = default;
};

// Which of the lines before was the last that a rollout remembered: the last one that is not later
// than the tick at `t` and made no decision after `sequence`.
struct RecordedReturn {
  double t = 0;                // of its last tick; 0: there was none yet
  std::uint64_t sequence = 0;  // of its last decision

  bool operator==(const RecordedReturn&) const = default;
};

struct RecordedTick {
  // No counts: between two ticks orders were taken or something was decided, or the counts of a
  // tick are not known.
  bool look = false;
  double t = 0;                // seconds, not descending
  double elapsed_seconds = 0;  // ruled time of this tick
  double unruled_seconds = 0;  // before that: nobody ruled
  // `late` is the canary's alone.
  rollout::TickCounts counts;
  std::optional<double> weight_percent;  // that the canary had; 0 before the first step: it waits
  bool ready = false;                    // with this line the canary is not waited for any more
  bool applied = true;                   // the sidecars apply the weight
  int canary_passing = 1;                // the canary's passing instances
  std::uint64_t ejections = 0;           // of these, ejected by outlier detection
  double age_seconds = 0;                // of the outcomes
  bool doubtful = false;                 // as Observation::doubtful
  std::string unknown;                   // as Observation::unknown
  std::string fleet_pause;               // as Observation::fleet_pause
  std::string splitter_unwritable;       // as Observation::splitter_unwritable
  std::string resolver_unwritable;       // the same
  std::string router_unwritable;         // the same
  // What the mesh was, where it was not as the rollout wanted it.
  double other_percent = 0;                   // of the splitter's weights, neither subset's
  std::optional<RecordedSplitter> splitter;   // nullopt: as wanted
  std::optional<rollout::RoutesSeen> routes;  // of `strategy.match`; nullopt: as wanted
  std::optional<std::string> canary_filter;   // of the resolver; nullopt: as wanted
  std::optional<std::string> primary_filter;  // the same
  bool fenced = true;                         // as Observation::fenced
  std::optional<rollout::ShieldView> shield;  // as Observation::shield, but for what it lacks
  bool instances_known = true;                // as Observation::instances_known
  int primary_passing = 1;                    // the primary's passing instances
  // Whether Consul had been seen before to hold the wanted weight; nullopt: at a step yes.
  std::optional<bool> confirmed;
  // From this line on.
  std::optional<rollout::Spec> spec;
  std::optional<double> attempts_together;
  std::optional<double> request_timeout_seconds;
  // What the analyzer went through.
  std::uint64_t sequence = 0;  // of the last decision; 0: as before, or not said
  bool restarted = false;      // before this line; what is not stored was lost
  // Without sequences; alert_started_wall_seconds is on the clock of t, where the rollout began at
  // 0; seen_decisions is 0 where the order was refused as outdated, else not told.
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
  stats::DispersionState dispersion;    // learned of the primary before; without open windows
  double attempts_together = 1;         // as Observation::attempts_together
  double request_timeout_seconds = 15;  // as Observation::request_timeout_seconds
  std::string started_by;               // who ordered the start; empty: as the specification says
  // Without those that an analyzer had forgotten when it went on.
  std::vector<RecordedTick> ticks;
  // Keys that were read and that this version does not judge: instances.canary.
  std::vector<std::string> not_judged;

  bool operator==(const Recording&) const = default;
};

// kInvalid names the line and the field; of a specification that is wrong each field, on lines of
// their own. Nothing is skipped: a recording that is wrong in one line is wrong. A tick without
// `elapsed` has the time since the one before, the first one a second, a look none. At most 8 MiB
// and 32 levels a line, 10^12 of anything in it, and 10^17 in all.
[[nodiscard]] base::Result<Recording> ParseRecording(std::string_view text);

// The first line, and the line of one tick, with their newlines: ParseRecording reads what they
// hold back to equal values (text that is not UTF-8 aside: its wrong bytes are replaced).
// Precondition: the specification is one that ToJson takes; every number is finite and none is
// negative; seconds are at most 10^9 and percent at most 100; counts keep their invariants and are
// at most 10^12, and a look has none; instances have different names, and
// those that occur in both lists of a tick come first in both, in the same order; ticks have late
// requests only if late_after_seconds or a latency history is given, which exclude each other.
[[nodiscard]] std::string RecordingHeader(const Recording& recording);
// `back`: the lines between the one it names and this are to be dropped, as ParseRecording does.
[[nodiscard]] std::string RecordingLine(const RecordedTick& tick,
                                        const std::optional<RecordedReturn>& back = {});

// How an edge of a histogram is named in a recording: "250ms" for .25. Read back to the same
// double.
[[nodiscard]] std::string EdgeText(double edge_seconds);

}  // namespace consul_canary::config
