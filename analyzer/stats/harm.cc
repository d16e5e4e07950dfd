#include "analyzer/stats/harm.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "analyzer/stats/block.h"

namespace consul_canary::stats {
namespace {

static_assert(kHarmGridSize == kOddsGridSize);

constexpr double kEpochSeconds = 60.0;
constexpr double kFirstMass = 0.75;
constexpr double kLaterMass = 0.25;

// Prior mass of the epochs first..last together, 1 <= first <= last.
double MassOfLaterEpochs(const HarmPlan& plan, std::int64_t first, std::int64_t last) {
  if (plan.planned_epochs == 0) {  // the sum of 1/(j (j + 1)) telescopes
    return kLaterMass * (1.0 / static_cast<double>(first) - 1.0 / static_cast<double>(last + 1));
  }
  const std::int64_t count = std::min(last, plan.planned_epochs - 1) - first + 1;
  if (count <= 0) return 0.0;
  return kLaterMass * static_cast<double>(count) / static_cast<double>(plan.planned_epochs - 1);
}

void Spend(HarmState& state, double mass) {
  const OddsGrid& grid = HarmGrid();
  const double log_mass = std::log(mass);
  for (std::size_t k = 0; k < kHarmGridSize; ++k) {
    const double fresh = log_mass + grid.log_weights[k];
    state.log_sums[k] = state.epoch < 0 ? fresh : LogAddExp(state.log_sums[k], fresh);
  }
  state.spent = std::min(1.0, state.spent + mass);
}

void BeginEpochs(HarmState& state, const HarmPlan& plan, bool both_have_requests) {
  if (state.epoch < 0) {
    if (!both_have_requests) return;
    Spend(state, kFirstMass);
    state.epoch = 0;
    return;
  }
  if (state.epoch_seconds < kEpochSeconds) return;
  const double begun = std::floor(state.epoch_seconds / kEpochSeconds);
  const std::int64_t last = state.epoch + static_cast<std::int64_t>(begun);
  const double mass = MassOfLaterEpochs(plan, state.epoch + 1, last);
  if (mass > 0.0) Spend(state, mass);
  state.epoch = last;
  state.epoch_seconds = std::max(0.0, state.epoch_seconds - begun * kEpochSeconds);
}

}  // namespace

HarmState StartHarm(const Counts& primary_history) {
  HarmState state;
  state.primary = primary_history;
  return state;
}

void ObserveHarm(HarmState& state, const HarmPlan& plan, const Counts& primary,
                 const Counts& canary, double overdispersion, double elapsed_seconds) {
  assert(plan.planned_epochs >= 0);
  assert(overdispersion >= 1.0);
  assert(elapsed_seconds > 0.0);
  const bool both_have_requests = primary.completed > 0 && canary.completed > 0;
  BeginEpochs(state, plan, both_have_requests);
  if (both_have_requests) {
    const auto blocks = HarmBlocks(state.primary, primary, canary);
    for (std::size_t k = 0; k < kHarmGridSize; ++k) {
      state.log_sums[k] += blocks[k] / overdispersion;
    }
  }
  if (state.epoch >= 0) state.epoch_seconds += elapsed_seconds;
  state.primary.completed += primary.completed;
  state.primary.failures += primary.failures;
}

double LogHarm(const HarmState& state) {
  if (state.epoch < 0) return 0.0;
  return LogAddExp(LogSumExp(state.log_sums), std::log1p(-state.spent));
}

}  // namespace consul_canary::stats
