#include "analyzer/rollout/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "analyzer/rollout/judge.h"
#include "analyzer/stats/average.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/safe.h"

namespace consul_canary::rollout {
namespace {

using stats::Counts;
using Random = std::mt19937_64;

constexpr int kRuns = 100;
constexpr double kTicksUntilDecided = 100;  // about; a tick is never shorter than a second
constexpr double kHistoryRequests = 30000;  // of the primary, before the rollout
constexpr double kFaults[] = {0.01, 0.05, 0.2, 1.0};
constexpr double kPercent = 100;
constexpr double kDaySeconds = 86400;
constexpr double kMostlyDecided = 0.5;
constexpr double kMassOfRequests = 1e6;  // a tick so large that chance averages out
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::int64_t Rounded(double value) { return std::llround(value); }

Counts Expected(double requests, double ratio) {
  return {Rounded(requests), Rounded(requests * ratio)};
}

struct Traffic {
  double weight = 0;  // 0..1
  double requests_per_second = 0;
  double primary_ratio = 0;
  double canary_ratio = 0;
};

Counts Draw(double requests, double ratio, Random& random) {
  const auto completed =
      requests > 0 ? std::poisson_distribution<std::int64_t>(requests)(random) : std::int64_t{0};
  return {completed, std::binomial_distribution<std::int64_t>(completed, ratio)(random)};
}

Counts History(double primary_ratio) { return Expected(kHistoryRequests, primary_ratio); }

// Evidence that a canary's request adds, about: from one tick so large that only its mean is left.
// Not above 0: no number of requests decides.
double GrowthOfSafe(const Spec& spec, const Traffic& traffic) {
  stats::SafeState state = stats::StartSafe(History(traffic.primary_ratio));
  const double primary = kMassOfRequests * (1 - traffic.weight) / traffic.weight;
  stats::ObserveSafe(state, spec.failure_margin, Expected(primary, traffic.primary_ratio),
                     Expected(kMassOfRequests, traffic.canary_ratio), spec.overdispersion_floor);
  return stats::LogSafe(state) / kMassOfRequests;
}

double RequestsNeeded(const Spec& spec, const Traffic& traffic) {
  const double growth = GrowthOfSafe(spec, traffic);
  return growth <= 0 ? kInfinity : -std::log(spec.false_advance) / growth;
}

// One simulated decision: ticks until `observe` says so.
struct Run {
  double seconds = 0;
  std::int64_t canary_failures = 0;
  bool decided = false;
};

using Observer = std::function<bool(const Counts& primary, const Counts& canary, double seconds)>;

Run RunUntil(const Traffic& traffic, double tick_seconds, double limit_seconds,
             const Observer& observe, Random& random) {
  Run run;
  const double requests = traffic.requests_per_second * tick_seconds;
  while (run.seconds < limit_seconds && !run.decided) {
    const Counts primary = Draw(requests * (1 - traffic.weight), traffic.primary_ratio, random);
    const Counts canary = Draw(requests * traffic.weight, traffic.canary_ratio, random);
    run.seconds += tick_seconds;
    run.canary_failures += canary.failures;
    run.decided = observe(primary, canary, tick_seconds);
  }
  return run;
}

Estimate Summarize(std::vector<Run> runs, double warmup, double least_seconds) {
  std::ranges::sort(runs, {}, &Run::seconds);
  const auto at = [&](double quantile) {
    const auto index = static_cast<std::size_t>(quantile * static_cast<double>(runs.size() - 1));
    return std::max(least_seconds, warmup + runs[index].seconds);
  };
  Estimate estimate{.seconds_median = at(0.5), .seconds_p90 = at(0.9)};
  for (const Run& run : runs) {
    estimate.failed_mean += static_cast<double>(run.canary_failures) / kRuns;
    estimate.decided_share += run.decided ? 1.0 / kRuns : 0.0;
  }
  return estimate;
}

double TickSeconds(double expected_seconds) {
  return std::max(1.0, std::min(expected_seconds, kDaySeconds) / kTicksUntilDecided);
}

double SecondsToJudge(const Spec& spec) { return spec.deadline.count() - spec.warmup.count(); }

Estimate UntilProven(const Spec& spec, const Step& step, const Traffic& traffic, double needed,
                     Random& random) {
  const double bound = -std::log(spec.false_advance);
  const double expected = needed / (traffic.requests_per_second * traffic.weight);
  const double limit = SecondsToJudge(spec);
  std::vector<Run> runs;
  for (int i = 0; i < kRuns; ++i) {
    stats::SafeState state = stats::StartSafe(History(traffic.primary_ratio));
    const Observer observe = [&](const Counts& primary, const Counts& canary, double) {
      stats::ObserveSafe(state, spec.failure_margin, primary, canary, spec.overdispersion_floor);
      return stats::LogSafe(state) >= bound;
    };
    runs.push_back(
        RunUntil(traffic, TickSeconds(std::min(expected, limit)), limit, observe, random));
  }
  return Summarize(std::move(runs), spec.warmup.count(), step.min_duration.count());
}

// What the failure ratio's ln M must reach while the other metrics have nothing to say.
bool IsHarm(const Spec& spec, double log_harm) {
  const double logs[] = {log_harm, 0.0};
  const double weights[] = {kFailureWeight, 1 - kFailureWeight};
  return stats::LogAverage(logs, weights) >= -std::log(spec.false_rollback);
}

Estimate UntilRolledBack(const Spec& spec, const Traffic& traffic, Random& random) {
  const stats::HarmPlan plan{.planned_epochs = PlannedEpochs(spec),
                             .tolerance = spec.rollback_margin};
  const double ln_bound = -std::log(spec.false_rollback);
  const double failures_per_second =
      traffic.requests_per_second * traffic.weight * traffic.canary_ratio;
  std::vector<Run> runs;
  for (int i = 0; i < kRuns; ++i) {
    stats::HarmState state = stats::StartHarm(History(traffic.primary_ratio));
    const Observer observe = [&](const Counts& primary, const Counts& canary, double seconds) {
      stats::ObserveHarm(state, plan, primary, canary, spec.overdispersion_floor, seconds);
      return IsHarm(spec, stats::LogHarm(state));
    };
    // A few failures decide: of the evidence of ln 1/alpha each brings a unit or more.
    runs.push_back(RunUntil(traffic, TickSeconds(ln_bound / failures_per_second),
                            SecondsToJudge(spec), observe, random));
  }
  return Summarize(std::move(runs), 0, 0);
}

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

// Half of the runs need less than the expected number of requests, but a good part needs more.
double ExpectedSeconds(double needed, const Traffic& traffic) {
  return needed / (traffic.requests_per_second * traffic.weight);
}

std::vector<Remedy> RemediesOf(const Spec& spec, std::size_t index, const Traffic& traffic,
                               double needed) {
  std::vector<Remedy> remedies;
  const double seconds = SecondsToJudge(spec);
  const auto in_time = [&](const Spec& changed, const Traffic& other) {
    return ExpectedSeconds(RequestsNeeded(changed, other), other) <= seconds;
  };
  const double weight = LeastThatHolds(traffic.weight, 0.5, [&](double value) {
    Traffic other = traffic;
    other.weight = value;
    return in_time(spec, other);
  });
  if (std::isfinite(weight)) {
    remedies.push_back(
        {fmt::format("strategy.steps[{}].weight: {:g} or more", index,
                     RoundedUp(weight * kPercent, 0.1)),
         fmt::format("a canary that fails everything meets {:.1f} times as many requests",
                     weight / traffic.weight)});
  }
  const double margin = LeastThatHolds(spec.failure_margin.absolute, 0.5, [&](double absolute) {
    Spec wider = spec;
    wider.failure_margin.absolute = absolute;
    return in_time(wider, traffic);
  });
  if (std::isfinite(margin)) {
    const double wide = RoundedUp(margin, 0.001);
    remedies.push_back(
        {fmt::format("analysis.failure_ratio.margin.absolute: {:g} or more", wide),
         fmt::format("a canary that fails {:g} points more often may be promoted: {:.0f} failures "
                     "a day, where {:g} allows {:.0f}",
                     wide * kPercent, wide * traffic.requests_per_second * kDaySeconds,
                     spec.failure_margin.absolute,
                     spec.failure_margin.absolute * traffic.requests_per_second * kDaySeconds)});
  }
  if (std::isfinite(needed)) {
    remedies.push_back(
        {fmt::format("strategy.deadline: {:.0f}s or more",
                     RoundedUp(ExpectedSeconds(needed, traffic) * 1.5 + spec.warmup.count(), 60)),
         "the step takes that long"});
  }
  if (spec.proof == Proof::kEachStep && spec.steps.size() > 1) {
    remedies.push_back(
        {"analysis.proof: once, with a min_duration for the later steps",
         "one proof over all steps: a fault that shows only under more load is left to the "
         "evidence of harm"});
  }
  return remedies;
}

PlannedStep PlanStep(const Spec& spec, std::size_t index, const PlanInput& input, Random& random) {
  const Step& step = spec.steps[index];
  // At a weight of 100 the primary has no requests to compare with: a hair less stands for it.
  const Traffic healthy{.weight = std::min(step.weight_percent / kPercent, 0.99),
                        .requests_per_second = input.requests_per_second,
                        .primary_ratio = input.primary_failure_ratio,
                        .canary_ratio = input.primary_failure_ratio};
  PlannedStep planned{.weight_percent = step.weight_percent,
                      .canary_requests_per_second = input.requests_per_second * healthy.weight,
                      .requests_needed = RequestsNeeded(spec, healthy)};
  planned.healthy = UntilProven(spec, step, healthy, planned.requests_needed, random);
  planned.least_requests_per_second =
      planned.requests_needed / (healthy.weight * SecondsToJudge(spec));
  for (const double ratio : kFaults) {
    if (ratio <= CanaryLimit(spec.rollback_margin, input.primary_failure_ratio)) continue;
    Traffic faulty = healthy;
    faulty.canary_ratio = ratio;
    planned.faults.push_back({ratio, UntilRolledBack(spec, faulty, random)});
  }
  if (planned.healthy.decided_share < kMostlyDecided) {
    planned.remedies = RemediesOf(spec, index, healthy, planned.requests_needed);
  }
  return planned;
}

}  // namespace

Plan MakePlan(const Spec& spec, const PlanInput& input) {
  Random random(1);
  Plan plan;
  for (std::size_t i = 0; i < spec.steps.size(); ++i) {
    PlannedStep step = PlanStep(spec, i, input, random);
    const bool passes_unproven = spec.proof == Proof::kOnce && i > 0;
    if (passes_unproven) {
      // Later steps only wait.
      const double seconds = std::max(spec.warmup.count(), spec.steps[i].min_duration.count());
      step.healthy.seconds_median = step.healthy.seconds_p90 = seconds;
      step.healthy.decided_share = 1;
      step.remedies.clear();
    }
    plan.healthy_seconds_median += step.healthy.seconds_median;
    plan.decidable = plan.decidable && step.healthy.decided_share >= kMostlyDecided;
    plan.steps.push_back(std::move(step));
  }
  return plan;
}

}  // namespace consul_canary::rollout
