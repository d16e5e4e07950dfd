#include "analyzer/rollout/expectation.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "analyzer/stats/safe.h"

namespace consul_canary::rollout {
namespace {

using stats::Counts;

constexpr double kHistoryRequests = 30000;  // of the primary, before the rollout
constexpr double kMassOfRequests = 1e6;     // a tick so large that chance averages out
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Until requests at a new weight have had their time to fail; before that nothing is proven.
constexpr double kSettlingSeconds = 15;  // Envoy's timeout, where the route has no other

std::int64_t Rounded(double value) { return std::llround(value); }

Counts Expected(double requests, double ratio) {
  return {Rounded(requests), Rounded(requests * ratio)};
}

// Evidence that a canary's request adds, about: from one tick so large that only its mean is left.
// Not above 0: no number of requests decides.
double GrowthOfSafe(const Spec& spec, const Traffic& traffic) {
  stats::SafeState state = stats::StartSafe(PrimaryHistory(traffic.primary_ratio));
  const double primary = kMassOfRequests * (1 - traffic.weight) / traffic.weight;
  stats::ObserveSafe(state, spec.failure_margin, Expected(primary, traffic.primary_ratio),
                     Expected(kMassOfRequests, traffic.canary_ratio), spec.overdispersion_floor);
  return stats::LogSafe(state) / kMassOfRequests;
}

}  // namespace

bool Uses(const Spec& spec, JudgeMode mode) {
  return spec.judge == mode || spec.judge == JudgeMode::kBoth;
}

Counts PrimaryHistory(double primary_ratio) { return Expected(kHistoryRequests, primary_ratio); }

double RequestsNeeded(const Spec& spec, const Traffic& traffic) {
  const double growth = GrowthOfSafe(spec, traffic);
  return growth <= 0 ? kInfinity : -std::log(spec.false_advance) / growth;
}

double ExpectedSeconds(double needed, const Traffic& traffic) {
  return needed / (traffic.requests_per_second * traffic.weight);
}

double SecondsUnproven(const Spec& spec) {
  const double warmup = spec.warmup.count();
  return Uses(spec, JudgeMode::kSequential) ? std::max(warmup, kSettlingSeconds) : warmup;
}

double SecondsToProve(const Spec& spec) {
  return std::max(0.0, spec.deadline.count() - SecondsUnproven(spec));
}

bool IsInTime(const Spec& spec, const Traffic& traffic) {
  return kProofSpread * ExpectedSeconds(RequestsNeeded(spec, traffic), traffic) <=
         SecondsToProve(spec);
}

}  // namespace consul_canary::rollout
