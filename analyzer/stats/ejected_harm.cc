#include "analyzer/stats/ejected_harm.h"

#include <cassert>
#include <utility>

#include "analyzer/stats/block.h"
#include "analyzer/stats/ejected_block.h"
#include "analyzer/stats/restarts.h"

namespace consul_canary::stats {
namespace {

// Of the prior mass, for restarts when the canary is back; the n-th has 1/(n (n + 1)) of it.
constexpr double kReturnMass = 0.3;
// So many requests that were meant for the canary and did not come are no coincidence.
constexpr double kMissedWhileOut = 5.0;

std::array<double, kHarmGridSize> Blocks(const Margin& tolerance, const Counts& primary_totals,
                                         const EjectionTick& tick) {
  if (tolerance == Margin{1.0, 0.0}) return EjectedHarmBlocks(primary_totals, tick);
  std::array<double, kHarmGridSize> blocks{};
  const Rate p = EstimateRate(primary_totals);
  const double limit = CanaryLimit(tolerance, p.failure);
  if (limit >= 1.0) return blocks;  // no rate of the canary's exceeds it
  for (std::size_t k = 0; k < kHarmGridSize; ++k) {
    const Rate q = RaiseOdds({limit, 1.0 - limit}, EjectedHarmGrid().odds_ratios[k]);
    // Also where rounding leaves nothing between the limit and 1.
    if (q.failure > limit) blocks[k] = LogEjectedMarginBlock(tick, p, q, tolerance);
  }
  return blocks;
}

// Whether the block is over now.
bool AddTick(EjectedHarmBlock& block, const EjectionTick& tick, double overdispersion,
             double elapsed_seconds) {
  if (block.seconds == 0.0) {
    block.tick = tick;
    block.overdispersion = overdispersion;
  } else {
    block.tick.primary += tick.primary;
    block.tick.canary += tick.canary;
  }
  block.seconds += elapsed_seconds;
  return RequestsOf(block.tick) >= kHarmBlockRequests || block.seconds >= kHarmBlockSeconds;
}

// A fault that came late has all that was learnt before against it, and few failures of the canary
// to show: what they are worth counts most right after an ejection.
void RestartIfBack(const EjectionTick& tick, EjectedHarmState& state) {
  if (tick.canary.completed == 0) {
    state.missed += tick.weight_ratio * static_cast<double>(RequestsOf(tick));
    return;
  }
  if (state.epoch >= 0 && state.missed >= kMissedWhileOut) {
    const auto n = static_cast<double>(++state.returns);
    Restart(RestartsOf(state), EjectedHarmGrid().log_weights, kReturnMass / (n * (n + 1.0)));
  }
  state.missed = 0;
}

void CloseBlock(const HarmPlan& plan, EjectedHarmState& state) {
  const EjectedHarmBlock block = std::exchange(state.open, {});
  const bool has_requests = block.tick.canary.completed > 0 && RequestsOf(block.tick) >= 2;
  BeginEpochs(
      RestartsOf(state), EjectedHarmGrid().log_weights,
      {.planned = plan.planned_epochs, .length = plan.epoch_seconds, .mass = 1.0 - kReturnMass},
      has_requests);
  RestartIfBack(block.tick, state);
  if (has_requests) {
    const auto gains = Blocks(plan.tolerance, state.primary, block.tick);
    for (std::size_t k = 0; k < kHarmGridSize; ++k) {
      state.log_sums[k] += gains[k] / block.overdispersion;
    }
  }
  PassTime(RestartsOf(state), block.seconds);
  state.primary += block.tick.primary;
}

}  // namespace

EjectedHarmState StartEjectedHarm(const Counts& primary_history) {
  EjectedHarmState state;
  state.primary = primary_history;
  return state;
}

void ObserveEjectedHarm(EjectedHarmState& state, const HarmPlan& plan, const EjectionTick& tick,
                        double overdispersion, double elapsed_seconds) {
  assert(plan.tolerance.ratio >= 1.0);
  assert(plan.tolerance.absolute >= 0.0 && plan.tolerance.absolute < 1.0);
  assert(overdispersion >= 1.0);
  if (AddTick(state.open, tick, overdispersion, elapsed_seconds)) CloseBlock(plan, state);
}

double LogEjectedHarm(const EjectedHarmState& state) {
  return LogRestarted(state.log_sums, state.spent, state.epoch);
}

}  // namespace consul_canary::stats
