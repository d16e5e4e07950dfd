// Fixed thresholds, as other tools judge (Flagger's metrics with interval, thresholdRange and
// threshold; Kayenta's Mann-Whitney judge): one check for each window that is over, a roll back
// after so many failed checks. Pure. How they compare with the sequential judge:
// docs/statistics.md#fixed-thresholds-and-mann-whitney.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "analyzer/stats/counts.h"
#include "analyzer/stats/latency.h"

namespace consul_canary::rollout {

struct TickCounts;

enum class CheckResult {
  kNone,  // no window is over yet
  kPassed,
  kFailed,
  kNoData,  // no request of the canary, or counters that leave it open
};

[[nodiscard]] std::string_view ToString(CheckResult result);

// What one threshold remembers. Plain data, part of the rollout's state.
struct ThresholdState {
  std::string of;                         // which threshold; another one begins afresh
  double seconds = 0;                     // of the open window, with what the canary did in it:
  stats::Counts canary_low, canary_high;  // with the fewest and the most failures
  stats::LatencyCounts canary_latency;
  stats::Counts primary_bin, canary_bin;          // Mann-Whitney: the open bin
  std::vector<double> primary_bins, canary_bins;  // failure ratios of the closed bins
  int failed = 0;                                 // checks, in this rollout
  CheckResult last = CheckResult::kNone;          // of the last window, in this step
  double last_value = 0;  // what was compared; meaningless at kNone, kNoData

  bool operator==(const ThresholdState&) const = default;
};

// Adds a judged tick to each threshold's window and checks those that are over. `states` is made as
// long as `spec.thresholds` first.
void ObserveThresholds(const Spec& spec, const TickCounts& tick, double elapsed_seconds,
                       std::vector<ThresholdState>& states);

// A step begins: open windows and results are dropped, failed checks stand.
void BeginThresholdStep(std::vector<ThresholdState>& states);

// Why to roll back, in words ("success_ratio was 0.93, below 0.99, in 5 checks of 60 s"); empty: no
// threshold has exceeded its failures.
[[nodiscard]] std::string ThresholdHarm(const Spec& spec,
                                        const std::vector<ThresholdState>& states);

// What still stands against an advance, in words; empty: the last check of each passed at this
// step.
[[nodiscard]] std::string ThresholdObstacle(const Spec& spec,
                                            const std::vector<ThresholdState>& states);

// "success_ratio", "latency_p99", "mann_whitney".
[[nodiscard]] std::string NameOf(const Threshold& threshold);

}  // namespace consul_canary::rollout
