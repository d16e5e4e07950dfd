#include "tests/simulation/trial.h"

#include <algorithm>
#include <cmath>

#include "analyzer/stats/harm.h"

namespace consul_canary::simulation {
namespace {

constexpr std::int64_t kHistoryRequests = 30000;
constexpr double kBurstChance = 0.02;
constexpr int kSecondsPerStep = 60;

struct Tick {
  stats::Counts primary;
  stats::Counts canary;
};

std::int64_t Binomial(std::int64_t n, double p, Random& random) {
  return std::binomial_distribution<std::int64_t>(n, std::min(1.0, p))(random);
}

stats::Counts Finish(std::int64_t groups, int clump, double rate, Random& random) {
  return {groups * clump, Binomial(groups, rate, random) * clump};
}

Tick NextTick(const Traffic& traffic, int second, Random& random) {
  const double growth = std::pow(traffic.weight_growth, second / kSecondsPerStep);
  const double weight =
      std::min(std::max(0.5, traffic.weight_ratio), traffic.weight_ratio * growth);
  const bool in_burst =
      traffic.shared_burst > 1.0 && std::bernoulli_distribution(kBurstChance)(random);
  const double burst = in_burst ? traffic.shared_burst : 1.0;
  const std::int64_t groups = traffic.requests_per_second / traffic.clump;
  const std::int64_t canary_groups = Binomial(groups, weight, random);
  Tick tick;
  tick.primary =
      Finish(groups - canary_groups, traffic.clump, traffic.primary_rate * burst, random);
  tick.canary = Finish(canary_groups, traffic.clump, traffic.canary_rate * burst, random);
  return tick;
}

void Count(const Tick& tick, Outcome& outcome) {
  ++outcome.seconds;
  outcome.canary_requests += tick.canary.completed;
  outcome.canary_failures += tick.canary.failures;
}

}  // namespace

stats::Counts History(const Traffic& traffic, Random& random) {
  return {kHistoryRequests, Binomial(kHistoryRequests, traffic.primary_rate, random)};
}

Outcome UntilRollback(const Traffic& traffic, double alpha, double overdispersion, int max_seconds,
                      Random& random) {
  stats::HarmState state = stats::StartHarm(History(traffic, random));
  const stats::HarmPlan plan{std::max(1, max_seconds / kSecondsPerStep)};
  const double bound = std::log(1.0 / alpha);
  Outcome outcome;
  while (!outcome.decided && outcome.seconds < max_seconds) {
    const Tick tick = NextTick(traffic, outcome.seconds, random);
    stats::ObserveHarm(state, plan, tick.primary, tick.canary, overdispersion, 1.0);
    Count(tick, outcome);
    outcome.decided = stats::LogHarm(state) >= bound;
  }
  return outcome;
}

Outcome UntilAdvance(const Traffic& traffic, const stats::Margin& margin, double beta,
                     int max_seconds, Random& random) {
  stats::SafeState state = stats::StartSafe(History(traffic, random));
  const double bound = std::log(1.0 / beta);
  Outcome outcome;
  while (!outcome.decided && outcome.seconds < max_seconds) {
    const Tick tick = NextTick(traffic, outcome.seconds, random);
    stats::ObserveSafe(state, margin, tick.primary, tick.canary, 1.0);
    Count(tick, outcome);
    outcome.decided = stats::LogSafe(state) >= bound;
  }
  return outcome;
}

}  // namespace consul_canary::simulation
