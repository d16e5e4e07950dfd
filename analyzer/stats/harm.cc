#include "analyzer/stats/harm.h"

#include <cassert>
#include <utility>

#include "analyzer/stats/block.h"
#include "analyzer/stats/restarts.h"

namespace consul_canary::stats {
namespace {

static_assert(kHarmGridSize == kOddsGridSize);

constexpr std::int64_t kBlockRequests = 20;
constexpr double kBlockSeconds = 10.0;

std::array<double, kHarmGridSize> Blocks(const Margin& tolerance, const Counts& primary_totals,
                                         const Counts& primary, const Counts& canary) {
  if (tolerance == Margin{1.0, 0.0}) return HarmBlocks(primary_totals, primary, canary);
  std::array<double, kHarmGridSize> blocks{};
  const Rate p = EstimateRate(primary_totals);
  const double limit = CanaryLimit(tolerance, p.failure);
  if (limit >= 1.0) return blocks;  // no rate of the canary's exceeds it
  for (std::size_t k = 0; k < kHarmGridSize; ++k) {
    const Rate q = RaiseOdds({limit, 1.0 - limit}, HarmGrid().odds_ratios[k]);
    blocks[k] = LogMarginBlock(primary, canary, p, q, tolerance);
  }
  return blocks;
}

void CloseBlock(const HarmPlan& plan, HarmState& state) {
  const HarmBlock block = std::exchange(state.open, {});
  const bool both_have_requests = block.primary.completed > 0 && block.canary.completed > 0;
  BeginEpochs(RestartsOf(state), HarmGrid().log_weights, plan.planned_epochs, both_have_requests,
              plan.epoch_seconds);
  if (both_have_requests) {
    const auto gains = Blocks(plan.tolerance, state.primary, block.primary, block.canary);
    for (std::size_t k = 0; k < kHarmGridSize; ++k) {
      state.log_sums[k] += gains[k] / block.overdispersion;
    }
  }
  PassTime(RestartsOf(state), block.seconds);
  state.primary += block.primary;
}

}  // namespace

HarmState StartHarm(const Counts& primary_history) {
  HarmState state;
  state.primary = primary_history;
  return state;
}

void ObserveHarm(HarmState& state, const HarmPlan& plan, const Counts& primary,
                 const Counts& canary, double overdispersion, double elapsed_seconds) {
  assert(plan.tolerance.ratio >= 1.0);
  assert(plan.tolerance.absolute >= 0.0 && plan.tolerance.absolute < 1.0);
  assert(overdispersion >= 1.0);
  HarmBlock& block = state.open;
  if (block.seconds == 0.0) block.overdispersion = overdispersion;
  block.primary += primary;
  block.canary += canary;
  block.seconds += elapsed_seconds;
  if (block.primary.completed + block.canary.completed < kBlockRequests &&
      block.seconds < kBlockSeconds) {
    return;
  }
  CloseBlock(plan, state);
}

double LogHarm(const HarmState& state) {
  return LogRestarted(state.log_sums, state.spent, state.epoch);
}

}  // namespace consul_canary::stats
