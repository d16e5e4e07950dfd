#include "analyzer/rollout/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "analyzer/rollout/expectation.h"
#include "analyzer/rollout/judge.h"
#include "analyzer/rollout/remedies.h"
#include "analyzer/rollout/thresholds.h"
#include "analyzer/stats/average.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/safe.h"

namespace consul_canary::rollout {
namespace {

using stats::Counts;
using Random = std::mt19937_64;

constexpr int kRuns = 100;
constexpr int kRunsUntilHopeless = 10;      // of which none was decided
constexpr double kTicksUntilDecided = 100;  // about; a tick is never shorter than a second
// What bounds the work: a tick is never less than this part of the time so far.
constexpr double kTicksInTimeSoFar = 150;
constexpr int kMostTicks = 2000;
constexpr double kFaults[] = {0.01, 0.05, 0.2, 1.0};
constexpr double kPercent = 100;
constexpr double kDaySeconds = 86400;
constexpr double kNearlyAll = 0.95;

Counts Draw(double requests, double ratio, Random& random) {
  const auto completed =
      requests > 0 ? std::poisson_distribution<std::int64_t>(requests)(random) : std::int64_t{0};
  return {completed, std::binomial_distribution<std::int64_t>(completed, ratio)(random)};
}

enum class Question { kProof, kHarm };

// Answers one question about one simulated canary, by the analyzer's own statistics.
class SimulatedJudge {
 public:
  SimulatedJudge(const Spec& spec, double primary_ratio, Question question)
      : spec_(spec),
        question_(question),
        plan_{.planned_epochs = PlannedEpochs(spec), .tolerance = spec.rollback_margin},
        safe_(stats::StartSafe(PrimaryHistory(primary_ratio))),
        harm_(stats::StartHarm(PrimaryHistory(primary_ratio))) {}

  // Takes a tick; whether the answer is yes by now.
  bool Decides(const Counts& primary, const Counts& canary, double seconds) {
    const bool sequential = DecidesSequentially(primary, canary, seconds);
    const bool by_thresholds = DecidesByThresholds(primary, canary, seconds);
    if (spec_.judge == JudgeMode::kSequential) return sequential;
    if (spec_.judge == JudgeMode::kThresholds) return by_thresholds;
    return question_ == Question::kProof ? sequential && by_thresholds
                                         : sequential || by_thresholds;
  }

 private:
  bool DecidesSequentially(const Counts& primary, const Counts& canary, double seconds) {
    if (!Uses(spec_, JudgeMode::kSequential)) return false;
    if (question_ == Question::kProof) {
      stats::ObserveSafe(safe_, spec_.failure_margin, primary, canary, spec_.overdispersion_floor);
      return stats::LogSafe(safe_) >= -std::log(spec_.false_advance);
    }
    stats::ObserveHarm(harm_, plan_, primary, canary, spec_.overdispersion_floor, seconds);
    // What the failure ratio's ln M must reach while the other metrics have nothing to say.
    const double logs[] = {stats::LogHarm(harm_), 0.0};
    const double weights[] = {kFailureWeight, 1 - kFailureWeight};
    return stats::LogAverage(logs, weights) >= -std::log(spec_.false_rollback);
  }

  bool DecidesByThresholds(const Counts& primary, const Counts& canary, double seconds) {
    if (!Uses(spec_, JudgeMode::kThresholds)) return false;
    TickCounts tick;
    tick.primary.low = tick.primary.high = primary;
    tick.canary.low = tick.canary.high = canary;
    ObserveThresholds(spec_, tick, seconds, thresholds_);
    return question_ == Question::kProof ? ThresholdObstacle(spec_, thresholds_).empty()
                                         : !ThresholdHarm(spec_, thresholds_).empty();
  }

  const Spec& spec_;
  Question question_;
  stats::HarmPlan plan_;
  stats::SafeState safe_;
  stats::HarmState harm_;
  std::vector<ThresholdState> thresholds_;
};

// One simulated decision.
struct Run {
  double seconds = 0;
  std::int64_t canary_failures = 0;
  bool decided = false;
};

struct TickLengths {
  double shortest = 1;
  double longest = std::numeric_limits<double>::infinity();
};

Run RunUntil(const Traffic& traffic, const TickLengths& lengths, double limit_seconds,
             SimulatedJudge& judge, Random& random) {
  Run run;
  for (int ticks = 0; ticks < kMostTicks && run.seconds < limit_seconds && !run.decided; ++ticks) {
    const double seconds =
        std::min(lengths.longest, std::max(lengths.shortest, run.seconds / kTicksInTimeSoFar));
    const double requests = traffic.requests_per_second * seconds;
    const Counts primary = Draw(requests * (1 - traffic.weight), traffic.primary_ratio, random);
    const Counts canary = Draw(requests * traffic.weight, traffic.canary_ratio, random);
    run.seconds += seconds;
    run.canary_failures += canary.failures;
    run.decided = judge.Decides(primary, canary, seconds);
  }
  return run;
}

Estimate Summarize(std::vector<Run> runs, double warmup, double least_seconds) {
  std::ranges::sort(runs, {}, &Run::seconds);
  const auto size = static_cast<double>(runs.size());
  const auto at = [&](double quantile) {
    const auto index = static_cast<std::size_t>(quantile * (size - 1));
    return std::max(least_seconds, warmup + runs[index].seconds);
  };
  Estimate estimate{.seconds_median = at(0.5), .seconds_p90 = at(0.9)};
  double failed = 0;
  for (const Run& run : runs) failed += static_cast<double>(run.canary_failures);
  estimate.failed_mean = failed / size;
  estimate.decided_share = static_cast<double>(std::ranges::count_if(runs, &Run::decided)) / size;
  return estimate;
}

// So that a window, or a bin of it, has several ticks.
TickLengths LengthsFor(const Spec& spec, double expected_seconds) {
  TickLengths lengths{
      .shortest = std::max(1.0, std::min(expected_seconds, kDaySeconds) / kTicksUntilDecided)};
  if (!Uses(spec, JudgeMode::kThresholds)) return lengths;
  constexpr double kTicksInAWindow = 5;
  for (const Threshold& threshold : spec.thresholds) {
    const Seconds part =
        threshold.metric == ThresholdMetric::kMannWhitney ? threshold.bin : threshold.window;
    lengths.longest = std::min(lengths.longest, std::max(1.0, part.count() / kTicksInAWindow));
  }
  return lengths;
}

std::vector<Run> Simulate(const Spec& spec, const Traffic& traffic, Question question,
                          double expected_seconds, Random& random) {
  const double limit = question == Question::kProof
                           ? SecondsToProve(spec)
                           : std::max(0.0, (spec.deadline - spec.warmup).count());
  const TickLengths lengths = LengthsFor(spec, expected_seconds);
  std::vector<Run> runs;
  for (int i = 0; i < kRuns; ++i) {
    SimulatedJudge judge(spec, traffic.primary_ratio, question);
    runs.push_back(RunUntil(traffic, lengths, limit, judge, random));
    if (i + 1 == kRunsUntilHopeless && std::ranges::none_of(runs, &Run::decided)) break;
  }
  return runs;
}

Estimate UntilProven(const Spec& spec, double least_seconds, const Traffic& traffic, double needed,
                     Random& random) {
  const double expected = std::min(ExpectedSeconds(needed, traffic), SecondsToProve(spec));
  return Summarize(Simulate(spec, traffic, Question::kProof, expected, random),
                   SecondsUnproven(spec), least_seconds);
}

Estimate UntilRolledBack(const Spec& spec, const Traffic& traffic, Random& random) {
  const double failures_per_second =
      traffic.requests_per_second * traffic.weight * traffic.canary_ratio;
  // A few failures decide: of the evidence of ln 1/alpha each brings a unit or more.
  const double expected = -std::log(spec.false_rollback) / failures_per_second;
  return Summarize(Simulate(spec, traffic, Question::kHarm, expected, random), 0, 0);
}

// What can be planned without a histogram of the service: latency is taken as kept.
Spec WithoutLatency(Spec spec) {
  std::erase_if(spec.thresholds, [](const Threshold& threshold) {
    return threshold.metric == ThresholdMetric::kLatency;
  });
  return spec;
}

// Whatever the evidence says: the step's own time, and a window of each threshold.
double LeastSeconds(const Spec& spec, const Step& step) {
  double seconds = std::max(step.min_duration.count(), SecondsUnproven(spec));
  if (!Uses(spec, JudgeMode::kThresholds)) return seconds;
  for (const Threshold& threshold : spec.thresholds) {
    seconds = std::max(seconds, (spec.warmup + threshold.window).count());
  }
  return seconds;
}

std::vector<std::string> NotesOf(const Spec& spec) {
  std::vector<std::string> notes;
  const bool by_latency =
      !spec.latency.empty() || std::ranges::any_of(spec.thresholds, [](const Threshold& threshold) {
        return threshold.metric == ThresholdMetric::kLatency;
      });
  if (by_latency) {
    notes.emplace_back(
        "latency is taken as kept: how long its proof takes depends on the service's own times");
  }
  if (!spec.match.empty()) {
    notes.emplace_back(
        "how many requests match strategy.match is not known: they are left out, and a step of "
        "weight 0 is counted with the least time it takes");
  }
  if (spec.after_promotion.count() > 0) {
    notes.push_back(fmt::format(
        "the whole includes {:g} s in which the promoted version is watched with all traffic",
        spec.after_promotion.count()));
  }
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    if (!spec.steps[i].pause) continue;
    notes.push_back(fmt::format(
        "step {} pauses after its proof until someone orders `promote`: not in these times",
        i + 1));
  }
  return notes;
}

// Its requests are those that match, and nobody knows how many those are.
PlannedStep MatchedStep(const Spec& spec, const Step& step) {
  PlannedStep planned;
  planned.healthy.seconds_median = planned.healthy.seconds_p90 = LeastSeconds(spec, step);
  planned.healthy.decided_share = 1;
  return planned;
}

PlannedStep PlanStep(const Spec& full, std::size_t index, const PlanInput& input, Random& random) {
  const Spec spec = WithoutLatency(full);
  const Step& step = spec.steps[index];
  const Traffic healthy{.weight = step.weight_percent / kPercent,
                        .requests_per_second = input.requests_per_second,
                        .primary_ratio = input.primary_failure_ratio,
                        .canary_ratio = input.primary_failure_ratio};
  if (step.weight_percent == 0) return MatchedStep(full, step);
  PlannedStep planned{.weight_percent = step.weight_percent,
                      .canary_requests_per_second = input.requests_per_second * healthy.weight};
  if (Uses(spec, JudgeMode::kSequential)) {
    planned.requests_needed = RequestsNeeded(spec, healthy);
    planned.least_requests_per_second =
        kProofSpread * planned.requests_needed / (healthy.weight * SecondsToProve(spec));
  }
  planned.healthy =
      UntilProven(spec, LeastSeconds(full, step), healthy, planned.requests_needed, random);
  for (const double ratio : kFaults) {
    if (ratio <= CanaryLimit(spec.rollback_margin, input.primary_failure_ratio)) continue;
    Traffic faulty = healthy;
    faulty.canary_ratio = ratio;
    planned.faults.push_back({ratio, UntilRolledBack(spec, faulty, random)});
  }
  if (planned.healthy.decided_share < kNearlyAll) {
    planned.remedies = RemediesOf(spec, index, healthy, planned.requests_needed);
  }
  return planned;
}

}  // namespace

Plan MakePlan(const Spec& spec, const PlanInput& input) {
  Random random(1);
  Plan plan;
  plan.notes = NotesOf(spec);
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    PlannedStep step = PlanStep(spec, i, input, random);
    const bool passes_unproven = spec.proof == Proof::kOnce && i > 0;
    if (passes_unproven) {
      // Later steps only wait.
      const double seconds = LeastSeconds(spec, spec.steps[i]);
      step.healthy.seconds_median = step.healthy.seconds_p90 = seconds;
      step.healthy.decided_share = 1;
      step.requests_needed = step.least_requests_per_second = 0;
      step.remedies.clear();
    }
    plan.healthy_seconds_median += step.healthy.seconds_median;
    plan.decidable = plan.decidable && step.healthy.decided_share >= kNearlyAll;
    plan.steps.push_back(std::move(step));
  }
  plan.healthy_seconds_median += spec.after_promotion.count();
  return plan;
}

}  // namespace consul_canary::rollout
