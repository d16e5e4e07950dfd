#include "analyzer/stats/harm.h"

#include <cassert>
#include <optional>
#include <utility>

#include "analyzer/stats/block.h"
#include "analyzer/stats/restarts.h"

namespace consul_canary::stats {
namespace {

static_assert(kHarmGridSize == kOddsGridSize);

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

std::array<double, kHarmGridSize> BlocksBeyond(double limit, const Counts& canary) {
  std::array<double, kHarmGridSize> blocks{};
  if (limit >= 1.0) return blocks;
  const Rate least{limit, 1.0 - limit};
  for (std::size_t k = 0; k < kHarmGridSize; ++k) {
    blocks[k] = LogLikelihoodRatio(canary, RaiseOdds(least, HarmGrid().odds_ratios[k]), least);
  }
  return blocks;
}

// Whether the block is over now. overdispersion: of a block that begins.
bool AddTick(HarmBlock& block, const Counts& primary, const Counts& canary, double overdispersion,
             double elapsed_seconds) {
  if (block.seconds == 0.0) block.overdispersion = overdispersion;
  block.primary += primary;
  block.canary += canary;
  block.seconds += elapsed_seconds;
  return block.primary.completed + block.canary.completed >= kHarmBlockRequests ||
         block.seconds >= kHarmBlockSeconds;
}

// limit: what the canary is held against; none: the primary in the same block.
void CloseBlock(const HarmPlan& plan, std::optional<double> limit, HarmState& state) {
  const HarmBlock block = std::exchange(state.open, {});
  const bool has_requests =
      block.canary.completed > 0 && (limit.has_value() || block.primary.completed > 0);
  BeginEpochs(RestartsOf(state), HarmGrid().log_weights,
              {.planned = plan.planned_epochs, .length = plan.epoch_seconds}, has_requests);
  if (has_requests) {
    const auto gains = limit ? BlocksBeyond(*limit, block.canary)
                             : Blocks(plan.tolerance, state.primary, block.primary, block.canary);
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
  if (AddTick(state.open, primary, canary, overdispersion, elapsed_seconds)) {
    CloseBlock(plan, std::nullopt, state);
  }
}

void ObserveHarmBeyond(HarmState& state, const HarmPlan& plan, double limit, const Counts& primary,
                       const Counts& canary, double overdispersion, double elapsed_seconds) {
  assert(limit > 0.0);
  assert(overdispersion >= 1.0);
  if (AddTick(state.open, primary, canary, overdispersion, elapsed_seconds)) {
    CloseBlock(plan, limit, state);
  }
}

double LogHarm(const HarmState& state) {
  return LogRestarted(state.log_sums, state.spent, state.epoch);
}

}  // namespace consul_canary::stats
