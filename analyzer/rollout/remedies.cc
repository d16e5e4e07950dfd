#include "analyzer/rollout/remedies.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <limits>

namespace consul_canary::rollout {
namespace {

constexpr double kPercent = 100;
constexpr double kDaySeconds = 86400;
constexpr double kYearSeconds = 365 * kDaySeconds;  // more is no duration of a specification
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The least value of [low, high] for which `holds`, where it holds for all greater ones.
double LeastThatHolds(double low, double high, const std::function<bool(double)>& holds) {
  constexpr int kHalvings = 40;
  if (!holds(high)) return kInfinity;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = std::sqrt(low * high);
    (holds(middle) ? high : low) = middle;
  }
  return high;
}

double RoundedUp(double value, double unit) { return std::ceil(value / unit) * unit; }

void AddWeight(const Spec& spec, std::size_t index, const Traffic& traffic,
               std::vector<Remedy>& remedies) {
  const double least = LeastThatHolds(traffic.weight, 0.5, [&](double value) {
    Traffic other = traffic;
    other.weight = value;
    return IsInTime(spec, other);
  });
  if (!std::isfinite(least)) return;
  const double percent = RoundedUp(least * kPercent, 0.1);
  const bool is_last = index + 1 == spec.steps.size();
  const bool stays_below_next = is_last || percent < spec.steps[index + 1].weight_percent;
  remedies.push_back(
      {stays_below_next ? fmt::format("strategy.steps[{}].weight: {:g} or more", index, percent)
                        : fmt::format("strategy.steps: none of a weight below {:g}", percent),
       fmt::format("a canary that fails everything meets {:.1f} times as many requests",
                   least / traffic.weight)});
}

void AddMargin(const Spec& spec, const Traffic& traffic, std::vector<Remedy>& remedies) {
  const double least = LeastThatHolds(spec.failure_margin.absolute, 0.5, [&](double absolute) {
    Spec wider = spec;
    wider.failure_margin.absolute = absolute;
    return IsInTime(wider, traffic);
  });
  if (!std::isfinite(least)) return;
  const double wide = RoundedUp(least, 0.001);
  remedies.push_back(
      {fmt::format("analysis.failure_ratio.margin.absolute: {:g} or more", wide),
       fmt::format("a canary that fails {:g} points more often may be promoted: {:.0f} failures a "
                   "day, where {:g} allows {:.0f}",
                   wide * kPercent, wide * traffic.requests_per_second * kDaySeconds,
                   spec.failure_margin.absolute,
                   spec.failure_margin.absolute * traffic.requests_per_second * kDaySeconds)});
}

void AddDeadline(const Spec& spec, const Traffic& traffic, double needed,
                 std::vector<Remedy>& remedies) {
  const double seconds =
      RoundedUp(ExpectedSeconds(needed, traffic) * kProofSpread + SecondsUnproven(spec), 60);
  if (seconds > kYearSeconds) return;
  remedies.push_back(
      {fmt::format("strategy.deadline: {:.0f}s or more", seconds), "the step takes that long"});
}

}  // namespace

std::vector<Remedy> RemediesOf(const Spec& spec, std::size_t index, const Traffic& traffic,
                               double needed) {
  if (spec.judge == JudgeMode::kThresholds || IsInTime(spec, traffic)) {
    return {{"analysis.thresholds: limits that the primary itself keeps to",
             "at this rate a canary as good as the primary does not pass them"}};
  }
  std::vector<Remedy> remedies;
  AddWeight(spec, index, traffic, remedies);
  AddMargin(spec, traffic, remedies);
  AddDeadline(spec, traffic, needed, remedies);
  if (spec.proof == Proof::kEachStep && spec.steps.size() > 1) {
    remedies.push_back(
        {"analysis.proof: once, with a min_duration for the later steps",
         "one proof over all steps: a fault that shows only under more load is left to the "
         "evidence of harm"});
  }
  return remedies;
}

}  // namespace consul_canary::rollout
