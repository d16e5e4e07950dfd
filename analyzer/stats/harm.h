// Evidence that the canary fails more often than the primary, while requests are still arriving. May be consulted
// after every tick: it is an e-process, so repeated looks do not inflate false alarms. Derivation,
// assumptions and sources: docs/statistics.md#harm.
//
// Block e-variable of Turner, Ly and Grünwald (arXiv 2106.02693), one tick a block, mixed over 12 odds ratios
// from 1.25 to 128, restarted as a Shiryaev–Roberts sum so that a late fault is found as fast as an early one.
#pragma once

#include <array>
#include <cstdint>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

inline constexpr int kHarmGridSize = 12;

// Everything the process remembers. Plain data, so that it can be stored and the process go on after a
// restart as if nothing had happened.
struct HarmState {
  Counts primary;                          // totals strictly before the next tick, history included
  std::array<double, kHarmGridSize> log_sums{};  // ln R_k; -infinity before the first epoch
  double log_spent = 0;                    // see HarmEvidence: prior mass already put to work, 0..1
  std::int64_t epoch = -1;                 // -1: no epoch has begun
  double epoch_seconds = 0;                // of this epoch's ticks, 0..60

  bool operator==(const HarmState&) const = default;
};

// planned_epochs: how many epochs of 60 s the rollout may last; 0: open-ended.
// Fixed before the first tick.
struct HarmPlan {
  std::int64_t planned_epochs = 0;

  bool operator==(const HarmPlan&) const = default;
};

// A process that has seen nothing but the primary's history before the rollout.
[[nodiscard]] HarmState StartHarm(const Counts& primary_history);

// Adds one tick of `elapsed_seconds` (> 0). A tick in which either subset completed nothing adds no evidence, but
// still teaches the primary's rate and moves the epochs. overdispersion >= 1, known before the tick.
void ObserveHarm(HarmState& state, const HarmPlan& plan, const Counts& primary, const Counts& canary,
                 double overdispersion, double elapsed_seconds);

// ln M: 0 means no evidence; on a healthy canary the chance that it ever reaches ln(1/alpha) is at most alpha.
[[nodiscard]] double LogHarm(const HarmState& state);

}  // namespace consul_canary::stats
