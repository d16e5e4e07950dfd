#include "analyzer/stats/late.h"

#include <cassert>
#include <cmath>

#include "analyzer/stats/block.h"
#include "analyzer/stats/restarts.h"

namespace consul_canary::stats {
namespace {

constexpr Rate kAllowed{kLateShare, 1.0 - kLateShare};
constexpr double kLeastShare = 4.0 * kLateShare;
constexpr double kGreatestShare = 0.99;

struct Alternatives {
  std::array<Rate, kLateGridSize> shares;
  std::array<double, kLateGridSize> log_weights{};
};

double Odds(double share) { return share / (1.0 - share); }

// Evenly spaced in their log odds, equally likely.
Alternatives MakeAlternatives() {
  Alternatives alternatives;
  const auto log_odds = EvenlyInLog<kLateGridSize>(Odds(kLeastShare), Odds(kGreatestShare));
  for (std::size_t k = 0; k < kLateGridSize; ++k) {
    alternatives.shares[k] = RaiseOdds({0.5, 0.5}, std::exp(log_odds[k]));
    alternatives.log_weights[k] = -std::log(static_cast<double>(kLateGridSize));
  }
  return alternatives;
}

const Alternatives& AllAlternatives() {
  static const Alternatives alternatives = MakeAlternatives();
  return alternatives;
}

constexpr double kUsualFactor = 2.0;
constexpr double kUsualSlack = 10.0;

}  // namespace

bool HasLongRequests(const PrimaryFlight& primary) {
  const auto started = static_cast<double>(primary.late.started);
  if (static_cast<double>(primary.late.late) > kLateShare * started) return true;
  const double rate = primary.seconds > 0.0 ? started / primary.seconds : 0.0;
  return primary.under_way > kUsualFactor * rate * primary.mean_seconds + kUsualSlack;
}

void ObserveLate(LateState& state, std::int64_t planned_epochs, const LateCounts& counts,
                 double overdispersion, double elapsed_seconds) {
  assert(counts.late >= 0 && counts.late <= counts.started);
  assert(overdispersion >= 1.0);
  const Alternatives& alternatives = AllAlternatives();
  BeginEpochs(RestartsOf(state), alternatives.log_weights, {.planned = planned_epochs},
              counts.started > 0);
  if (counts.started > 0) {
    for (std::size_t k = 0; k < kLateGridSize; ++k) {
      state.log_sums[k] +=
          LogLikelihoodRatio({counts.started, counts.late}, alternatives.shares[k], kAllowed) /
          overdispersion;
    }
  }
  PassTime(RestartsOf(state), elapsed_seconds);
}

double LogLate(const LateState& state) {
  return LogRestarted(state.log_sums, state.spent, state.epoch);
}

}  // namespace consul_canary::stats
