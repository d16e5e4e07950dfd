#include "analyzer/rollout/thresholds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "analyzer/rollout/observation.h"
#include "analyzer/stats/mann_whitney.h"

namespace consul_canary::rollout {
namespace {

constexpr double kPercent = 100;
// A quantile above the histogram's last edge: more than any limit.
constexpr double kBeyond = std::numeric_limits<double>::max();

// Linear between the edges, as Prometheus' histogram_quantile.
double Quantile(const stats::LatencyCounts& counts, double quantile) {
  const double wanted = quantile * static_cast<double>(counts.timed);
  double edge_below = 0;
  double faster_below = 0;
  for (const auto& [edge, slower] : counts.slower) {
    const double faster = static_cast<double>(counts.timed - slower);
    if (faster >= wanted) {
      const double inside = faster - faster_below;
      if (inside <= 0) return edge_below;
      return edge_below + (edge - edge_below) * (wanted - faster_below) / inside;
    }
    edge_below = edge;
    faster_below = faster;
  }
  return kBeyond;
}

bool IsWithin(const Threshold& threshold, double value) {
  return (!threshold.min || value >= *threshold.min) && (!threshold.max || value <= *threshold.max);
}

double SuccessRatio(const stats::Counts& counts) {
  return 1.0 - static_cast<double>(counts.failures) / static_cast<double>(counts.completed);
}

double FailureRatio(const stats::Counts& counts) {
  return static_cast<double>(counts.failures) / static_cast<double>(counts.completed);
}

struct Check {
  CheckResult result = CheckResult::kNoData;
  double value = 0;
};

Check CheckValue(const Threshold& threshold, double value) {
  return {IsWithin(threshold, value) ? CheckResult::kPassed : CheckResult::kFailed, value};
}

Check CheckSuccess(const Threshold& threshold, const ThresholdState& state) {
  if (state.canary_high.completed == 0) return {};
  const Check best = CheckValue(threshold, SuccessRatio(state.canary_low));
  const Check worst = CheckValue(threshold, SuccessRatio(state.canary_high));
  if (best.result != worst.result) return {};  // the counters leave it open
  return worst;
}

// Kayenta's classifier: the canary is worse where the whole confidence interval of the shift lies
// above a part of the shift itself.
Check CheckMannWhitney(const Threshold& threshold, const ThresholdState& state) {
  const auto least = static_cast<std::size_t>(stats::LeastValues(threshold.confidence));
  if (state.canary_bins.size() < least || state.primary_bins.size() < least) return {};
  const stats::MannWhitney test =
      stats::TestMannWhitney(state.primary_bins, state.canary_bins, threshold.confidence);
  const bool worse = test.lower > threshold.tolerance * std::abs(test.estimate);
  return {worse ? CheckResult::kFailed : CheckResult::kPassed, test.estimate};
}

Check CheckWindow(const Threshold& threshold, const ThresholdState& state) {
  switch (threshold.metric) {
    case ThresholdMetric::kSuccessRatio:
      return CheckSuccess(threshold, state);
    case ThresholdMetric::kLatency:
      if (state.canary_latency.timed == 0) return {};
      return CheckValue(threshold, Quantile(state.canary_latency, threshold.quantile));
    case ThresholdMetric::kMannWhitney:
      break;
  }
  return CheckMannWhitney(threshold, state);
}

void DropWindow(ThresholdState& state) {
  state = {.of = std::move(state.of),
           .failed = state.failed,
           .last = state.last,
           .last_value = state.last_value};
}

// All that its checks depend on.
std::string IdentityOf(const Threshold& threshold) {
  const auto limit = [](std::optional<double> value) {
    return value ? fmt::format("{}", *value) : std::string("-");
  };
  return fmt::format("{} {} {} {} {} {} {}", NameOf(threshold), limit(threshold.min),
                     limit(threshold.max), threshold.window.count(), threshold.bin.count(),
                     threshold.confidence, threshold.tolerance);
}

// Bins end where the window's own time passes a multiple of theirs, so that ticks which do not
// divide a bin cost no bin. A tick longer than a bin is one value.
void CloseBin(const Threshold& threshold, double seconds_before, ThresholdState& state) {
  const auto bins_until = [&](double seconds) {
    return std::floor(seconds / threshold.bin.count());
  };
  if (bins_until(state.seconds) <= bins_until(seconds_before)) return;
  if (state.primary_bin.completed > 0 && state.canary_bin.completed > 0) {
    state.primary_bins.push_back(FailureRatio(state.primary_bin));
    state.canary_bins.push_back(FailureRatio(state.canary_bin));
  }
  state.primary_bin = {};
  state.canary_bin = {};
}

void AddTick(const Threshold& threshold, const TickCounts& tick, double elapsed_seconds,
             ThresholdState& state) {
  const double seconds_before = state.seconds;
  state.seconds += elapsed_seconds;
  switch (threshold.metric) {
    case ThresholdMetric::kSuccessRatio:
      state.canary_low += tick.canary.low;
      state.canary_high += tick.canary.high;
      return;
    case ThresholdMetric::kLatency:
      state.canary_latency += tick.canary.latency;
      return;
    case ThresholdMetric::kMannWhitney:
      state.primary_bin += tick.primary.high;
      state.canary_bin += tick.canary.low;
      return CloseBin(threshold, seconds_before, state);
  }
}

// As on_insufficient_data asks.
CheckResult Judged(CheckResult result, NoDataPolicy policy) {
  if (result != CheckResult::kNoData || policy == NoDataPolicy::kHold) return result;
  return policy == NoDataPolicy::kRollBack ? CheckResult::kFailed : CheckResult::kPassed;
}

std::string Shown(const Threshold& threshold, double value) {
  if (threshold.metric != ThresholdMetric::kLatency) return fmt::format("{:.6g}", value);
  if (value == kBeyond) return "above the last bucket";
  return fmt::format("{:.0f} ms", value * 1000);
}

std::string Limits(const Threshold& threshold) {
  if (threshold.metric == ThresholdMetric::kMannWhitney) {
    return fmt::format("no shift at a confidence of {:g}", threshold.confidence);
  }
  std::string text;
  if (threshold.min) text = "at least " + Shown(threshold, *threshold.min);
  if (threshold.max)
    text += (text.empty() ? "" : ", ") + ("at most " + Shown(threshold, *threshold.max));
  return text;
}

}  // namespace

std::string_view ToString(CheckResult result) {
  switch (result) {
    case CheckResult::kNone:
      return "none";
    case CheckResult::kPassed:
      return "passed";
    case CheckResult::kFailed:
      return "failed";
    case CheckResult::kNoData:
      return "no-data";
  }
  return "unknown";
}

std::string NameOf(const Threshold& threshold) {
  switch (threshold.metric) {
    case ThresholdMetric::kSuccessRatio:
      return "success_ratio";
    case ThresholdMetric::kLatency:
      return fmt::format("latency_p{:g}", threshold.quantile * kPercent);
    case ThresholdMetric::kMannWhitney:
      break;
  }
  return "mann_whitney";
}

void ObserveThresholds(const Spec& spec, const TickCounts& tick, double elapsed_seconds,
                       std::vector<ThresholdState>& states) {
  states.resize(spec.thresholds.size());
  for (std::size_t i = 0; i < states.size(); ++i) {
    const Threshold& threshold = spec.thresholds[i];
    ThresholdState& state = states[i];
    if (std::string identity = IdentityOf(threshold); state.of != identity) {
      state = {.of = std::move(identity)};
    }
    AddTick(threshold, tick, elapsed_seconds, state);
    if (state.seconds < threshold.window.count()) continue;
    const Check check = CheckWindow(threshold, state);
    state.last = Judged(check.result, spec.on_insufficient_data);
    state.last_value = check.value;
    if (state.last == CheckResult::kFailed) ++state.failed;
    DropWindow(state);
  }
}

void BeginThresholdStep(std::vector<ThresholdState>& states) {
  for (ThresholdState& state : states) {
    state = {.of = std::move(state.of), .failed = state.failed};
  }
}

std::string ThresholdHarm(const Spec& spec, const std::vector<ThresholdState>& states) {
  for (std::size_t i = 0; i < std::min(states.size(), spec.thresholds.size()); ++i) {
    const Threshold& threshold = spec.thresholds[i];
    if (states[i].failed < threshold.failures) continue;
    return fmt::format("{} was {} in the last of {} failed checks of {:g} s (wanted: {})",
                       NameOf(threshold), Shown(threshold, states[i].last_value), states[i].failed,
                       threshold.window.count(), Limits(threshold));
  }
  return "";
}

std::string ThresholdObstacle(const Spec& spec, const std::vector<ThresholdState>& states) {
  for (std::size_t i = 0; i < spec.thresholds.size(); ++i) {
    const Threshold& threshold = spec.thresholds[i];
    const CheckResult last = i < states.size() ? states[i].last : CheckResult::kNone;
    if (last == CheckResult::kPassed) continue;
    if (last == CheckResult::kNone) {
      return fmt::format("{}: no window of {:g} s is over at this step", NameOf(threshold),
                         threshold.window.count());
    }
    if (last == CheckResult::kNoData) {
      return fmt::format("{}: the last window of {:g} s does not tell", NameOf(threshold),
                         threshold.window.count());
    }
    return fmt::format("{} was {} (wanted: {}), failed check {} of {}", NameOf(threshold),
                       Shown(threshold, states[i].last_value), Limits(threshold), states[i].failed,
                       threshold.failures);
  }
  return "";
}

}  // namespace consul_canary::rollout
