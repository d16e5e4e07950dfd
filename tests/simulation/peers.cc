#include "tests/simulation/peers.h"

#include <fmt/format.h>

#include <utility>

namespace consul_canary::simulation {
namespace {

constexpr double kFlaggerLeastSuccess = 0.99;
constexpr double kSecondsPerMinute = 60;

rollout::Spec OnlyThreshold(const rollout::Threshold& threshold) {
  rollout::Spec spec;
  spec.judge = rollout::JudgeMode::kThresholds;
  spec.thresholds = {threshold};
  return spec;
}

}  // namespace

Entrant Ours(rollout::Spec spec, double false_rollback) {
  spec.false_rollback = false_rollback;
  return {.name = fmt::format("α = {:g}", false_rollback), .spec = std::move(spec)};
}

Entrant Flagger(double check_seconds, int failed_checks) {
  return {.name = fmt::format("Flagger, {:g} s × {}", check_seconds, failed_checks),
          .spec = OnlyThreshold({.metric = rollout::ThresholdMetric::kSuccessRatio,
                                 .min = kFlaggerLeastSuccess,
                                 .window = rollout::Seconds(check_seconds),
                                 .failures = failed_checks}),
          .acts_after_seconds = check_seconds};
}

Entrant Kayenta(double point_seconds, double interval_seconds) {
  return {.name = fmt::format("Mann-Whitney, {:g} s / {:g} min", point_seconds,
                              interval_seconds / kSecondsPerMinute),
          .spec = OnlyThreshold({.metric = rollout::ThresholdMetric::kMannWhitney,
                                 .window = rollout::Seconds(interval_seconds),
                                 .failures = 1,
                                 .bin = rollout::Seconds(point_seconds)})};
}

Contestant::Contestant(const Entrant& entrant, Stream& past, const Before& before)
    : entrant_(entrant) {
  if (entrant_.spec.judge == rollout::JudgeMode::kSequential) {
    rollout_.emplace(entrant_.spec, past, before);
  }
}

bool Contestant::Takes(const rollout::TickCounts& tick) {
  if (rollout_) {
    rollout_->Tick(tick);
    return rollout_->rolled_back();
  }
  if (harm_) {
    seconds_since_harm_ += 1;
  } else {
    rollout::ObserveThresholds(entrant_.spec, tick, 1, thresholds_);
    harm_ = !rollout::ThresholdHarm(entrant_.spec, thresholds_).empty();
  }
  return harm_ && seconds_since_harm_ >= entrant_.acts_after_seconds;
}

}  // namespace consul_canary::simulation
