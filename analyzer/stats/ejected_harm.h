// Evidence that the canary fails more often than the primary, where its instances are ejected when
// they fail: harm.h for a mesh with a shield. Under ejection that of harm.h rolls back most healthy
// canaries; this one is fair under any rule by which the canary's own failures move its requests
// away, and without ejection too, only slower. ObserveHarmBeyond needs no such counterpart: it
// holds the canary against a fixed limit. Derivation and proof: docs/statistics.md#ejection.
#pragma once

#include <array>
#include <cstdint>

#include "analyzer/stats/ejection.h"
#include "analyzer/stats/harm.h"

namespace consul_canary::stats {

// Ticks whose evidence is not added yet; closed as HarmBlock is, by requests that are counted once
// however often they were retried: their number must not depend on what fails. overdispersion and
// what else is known before a tick are those of the first.
struct EjectedHarmBlock {
  EjectionTick tick;
  double seconds = 0;
  double overdispersion = 1;

  bool operator==(const EjectedHarmBlock&) const = default;
};

// Everything the process remembers: plain finite numbers, as HarmState.
struct EjectedHarmState {
  Counts primary;  // totals strictly before the open block, history included
  // ln R_k for each odds ratio; 0 and without meaning while epoch is -1.
  std::array<double, kHarmGridSize> log_sums{};
  double spent = 0;
  std::int64_t epoch = -1;
  double epoch_seconds = 0;
  // Requests that were meant for the canary since its last one, and how often it came back after
  // it had been out of service.
  double missed = 0;
  std::int64_t returns = 0;

  EjectedHarmBlock open;

  bool operator==(const EjectedHarmState&) const = default;
};

// A process that has seen nothing but the primary's history before the rollout.
[[nodiscard]] EjectedHarmState StartEjectedHarm(const Counts& primary_history);

// Adds one tick of `elapsed_seconds` (> 0) to the open block. One in which the canary completed
// nothing adds no evidence. plan, overdispersion, epochs: as ObserveHarm, with three tenths of the
// prior mass kept for restarts when the canary is back in service. Ticks should not begin at
// the same fraction of each second as something else that does (a burst by a timer): what is common
// to both must have the same chance of hitting either.
//
// Cost: at worst 12 (1 + min(failures, active instances)) sums of 18 standard deviations of the
// primary's failures (LogExpectedDraws); a microsecond or two where nothing fails.
void ObserveEjectedHarm(EjectedHarmState& state, const HarmPlan& plan, const EjectionTick& tick,
                        double overdispersion, double elapsed_seconds);

// ln M: 0 means no evidence; on a healthy canary the chance that it ever reaches ln(1/alpha) is at
// most alpha.
[[nodiscard]] double LogEjectedHarm(const EjectedHarmState& state);

}  // namespace consul_canary::stats
