#include "analyzer/stats/ejected_block.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>

#include "analyzer/stats/hypergeometric.h"

namespace consul_canary::stats {
namespace {

[[maybe_unused]] bool IsValid(const Counts& counts) {
  return counts.failures >= 0 && counts.failures <= counts.completed;
}

// What one request is worth: its probability under the alternative over that under the null.
struct Worth {
  double log_failed = 0;
  double log_succeeded = 0;
};

Worth WorthOf(const Rate& alternative, const Rate& null, double difference) {
  return {LogRatio(alternative.failure, null.failure, difference),
          LogRatio(alternative.success, null.success, -difference)};
}

double LogWorth(const Counts& counts, const Worth& each) {
  return static_cast<double>(counts.failures) * each.log_failed +
         static_cast<double>(counts.completed - counts.failures) * each.log_succeeded;
}

double Requests(const EjectionTick& tick) { return static_cast<double>(RequestsOf(tick)); }

double ActiveInstances(const EjectionTick& tick) {
  return static_cast<double>(std::max<std::int64_t>(1, tick.active_instances));
}

bool IsJudged(const EjectionTick& tick) {
  assert(IsValid(tick.primary) && IsValid(tick.canary));
  return tick.canary.completed > 0 && RequestsOf(tick) >= 2;
}

// What a retry adds at another of the canary's instances, in just the tick that tells something.
constexpr double kRetriesAllowedFor = 2.0;

// As many of the canary's requests as hardly any tick exceeds, but never all of the tick.
double MostOfCanary(const EjectionTick& tick) {
  const double requests = Requests(tick);
  const double weight = std::clamp(tick.weight_ratio, 0.0, 1.0);
  const double most =
      weight * requests + std::sqrt(weight * (1.0 - weight) * requests) + kRetriesAllowedFor;
  return std::min(requests - 1.0, std::floor(most));
}

// How often the canary fails on average until all of it is out of service: for each instance
// 1 + 1/q + … + 1/q^(m-1), until m failures come one after another. Whole, and no more exact where
// that is never.
constexpr double kNever = 1e6;
double FailuresUntilEjected(const EjectionTick& tick, double failure_rate) {
  double failures = 1.0;
  for (std::int64_t more = 1; more < tick.failures_in_a_row && failures < kNever; ++more) {
    failures = 1.0 + failures / failure_rate;
  }
  return std::round(ActiveInstances(tick) * failures);
}

// The canary's requests before it is out of service, at this rate, are the fewer the worse it is:
// so are those by which it can be told.
double MostUntilEjected(const EjectionTick& tick, double failure_rate) {
  const double until = std::floor(2.0 * FailuresUntilEjected(tick, failure_rate) / failure_rate);
  return std::max(1.0, std::min(MostOfCanary(tick), until));
}

// The tick with all but `most` of the canary's requests counted with the primary, `failed` failures
// among them.
EjectionTick WithSurplus(EjectionTick tick, double most, std::int64_t failed) {
  const auto surplus =
      std::max<std::int64_t>(0, tick.canary.completed - static_cast<std::int64_t>(most));
  tick.canary.completed -= surplus;
  tick.canary.failures -= failed;
  // Their retries are no outcomes of their own: they would be there because these failed.
  tick.primary.completed += surplus - (tick.retried ? failed : 0);
  tick.primary.failures = std::min(tick.primary.failures + failed, tick.primary.completed);
  return tick;
}

// How many failures may be among the surplus.
struct Range {
  std::int64_t least = 0;
  std::int64_t most = 0;
};
Range FailuresInSurplus(const EjectionTick& tick, double most) {
  const std::int64_t kept = std::min(tick.canary.completed, static_cast<std::int64_t>(most));
  return {std::max<std::int64_t>(0, tick.canary.failures - kept),
          std::min(tick.canary.completed - kept, tick.canary.failures)};
}

// Each request of the canary is weighed against (requests - most) / most of the primary's, all of
// which its failures leave it.
double LogSteady(const EjectionTick& tick, double most, const Worth& primary, const Worth& canary) {
  const double each = (Requests(tick) - most) / most;
  // The surplus with the most failures is worth least.
  const EjectionTick seen = WithSurplus(tick, most, FailuresInSurplus(tick, most).most);
  const double draws = each * static_cast<double>(seen.canary.completed);
  return LogWorth(seen.canary, canary) +
         LogExpectedDraws(seen.primary, draws, primary.log_failed, primary.log_succeeded);
}

// What the look-up compares: `enough` failures of the canary, each with `each` of the primary's
// requests, among the first `most` requests of the canary.
struct LookUp {
  double most = 0;
  double enough = 0;
  double each = 0;
};

double LogLookUp(const EjectionTick& seen, const LookUp& by, const Worth& primary,
                 const Worth& canary) {
  const auto counted = std::min(static_cast<double>(seen.canary.failures), by.enough);
  const auto others = static_cast<double>(seen.canary.completed) - counted;
  return counted * canary.log_failed + others * canary.log_succeeded +
         LogExpectedDraws(seen.primary, by.each * counted, primary.log_failed,
                          primary.log_succeeded);
}

// Where in the tick the canary failed is not known: of all ways to share out its failures, the one
// that is worth least. Those that leave more than count are worth the less, the fewer they leave.
double LogLeastLookUp(const EjectionTick& tick, const LookUp& by, const Worth& primary,
                      const Worth& canary) {
  const Range surplus = FailuresInSurplus(tick, by.most);
  const auto enough = static_cast<std::int64_t>(by.enough);
  const std::int64_t first = std::clamp(tick.canary.failures - enough, surplus.least, surplus.most);
  double least = LogLookUp(WithSurplus(tick, by.most, first), by, primary, canary);
  for (std::int64_t failed = first + 1; failed <= surplus.most; ++failed) {
    least = std::min(least, LogLookUp(WithSurplus(tick, by.most, failed), by, primary, canary));
  }
  return least;
}

// Between p and q, the nearer to p the more requests of the primary's stand against one of the
// canary's.
Rate Between(const Rate& p, const Rate& q, double against) {
  return {(against * p.failure + q.failure) / (against + 1.0),
          (against * p.success + q.success) / (against + 1.0)};
}

struct CommonRate {
  Worth primary, canary;
};
CommonRate AgainstCommonRate(const Rate& p, const Rate& q, double against) {
  const Rate common = Between(p, q, against);
  const double difference = FailureDifference(q, p);
  return {WorthOf(p, common, -difference / (against + 1.0)),
          WorthOf(q, common, difference * against / (against + 1.0))};
}

// The primary's failures, but no more than its rate explains: of an outage of a fraction of a
// second it has all that there is, retries too, where the canary's first failure ends its part, or
// it may come back only when it is over.
double ExplainedFailures(const Counts& primary, const Rate& p) {
  const double expected = static_cast<double>(primary.completed) * p.failure;
  return std::min(static_cast<double>(primary.failures),
                  std::max(1.0, expected + 2.0 * std::sqrt(expected)));
}

}  // namespace

double LogEjectedBlock(const EjectionTick& tick, const Rate& p, const Rate& q) {
  if (!IsJudged(tick)) return 0.0;
  const double requests = Requests(tick);
  const double most_of_canary = MostOfCanary(tick);
  const double enough = FailuresUntilEjected(tick, q.failure);
  if (q.failure * most_of_canary <= enough) {
    const auto [primary, canary] =
        AgainstCommonRate(p, q, (requests - most_of_canary) / most_of_canary);
    return LogSteady(tick, most_of_canary, primary, canary);
  }
  const double most = MostUntilEjected(tick, q.failure);
  const LookUp by{.most = most, .enough = enough, .each = (requests - most) / enough};
  const auto [primary, canary] = AgainstCommonRate(p, q, by.each * q.failure);
  return LogLeastLookUp(tick, by, primary, canary);
}

double LogEjectedMarginBlock(const EjectionTick& tick, const Rate& p, const Rate& q,
                             const Margin& margin) {
  assert(q.failure > CanaryLimit(margin, p.failure));
  if (!IsJudged(tick)) return 0.0;
  const double most = MostUntilEjected(tick, q.failure);
  const NullPoint null =
      ProjectOntoMargin(p.failure, q.failure, margin, Requests(tick) - most, most);
  const Rate primary{null.primary, 1.0 - null.primary};
  const Rate canary{null.canary, 1.0 - null.canary};
  return LogSteady(tick, most, WorthOf(p, primary, FailureDifference(p, primary)),
                   WorthOf(q, canary, FailureDifference(q, canary)));
}

std::array<double, kOddsGridSize> EjectedHarmBlocks(const Counts& primary_totals,
                                                    const EjectionTick& tick) {
  const Rate p = EstimateRate(primary_totals);
  std::array<double, kOddsGridSize> blocks{};
  std::ranges::transform(EjectedHarmGrid().odds_ratios, blocks.begin(), [&](double odds_ratio) {
    return LogEjectedBlock(tick, p, RaiseOdds(p, odds_ratio));
  });
  return blocks;
}

double LogEjectedSafeBlock(const EjectionTick& tick, const Rate& p, const Rate& q,
                           const Margin& margin) {
  assert(IsValid(tick.primary) && IsValid(tick.canary));
  assert(q.failure < CanaryLimit(margin, p.failure));
  const double weight = tick.weight_ratio;
  if (tick.canary.completed == 0 || weight <= 0.0 || weight >= 1.0) return 0.0;
  const NullPoint null = ProjectOntoMargin(p.failure, q.failure, margin, 1.0 - weight, weight);
  const Rate primary_null{null.primary, 1.0 - null.primary};
  const Worth primary = WorthOf(p, primary_null, FailureDifference(p, primary_null));
  const double draws = (1.0 - weight) / weight * static_cast<double>(tick.canary.completed);
  const auto size = static_cast<double>(tick.primary.completed);
  const double failed = ExplainedFailures(tick.primary, p);
  const double worth = failed * primary.log_failed + (size - failed) * primary.log_succeeded;
  const double drawn = size > 0.0 ? std::min(1.0, draws / size) * worth : 0.0;
  return LogLikelihoodRatio(tick.canary, q, {null.canary, 1.0 - null.canary}) + drawn +
         std::max(0.0, draws - size) * primary.log_succeeded;
}

}  // namespace consul_canary::stats
