// What one tick shows of a canary whose instances are ejected when they fail (outlier detection
// with failover to the primary): its share of the requests then depends on its failures, and the
// processes of harm.h and safe.h are not fair. Derivation: docs/statistics.md#ejection.
#pragma once

#include <cstdint>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

// Attempts at the instances themselves, in one tick. weight_ratio, active_instances,
// failures_in_a_row: known before the tick. No value of theirs makes the evidence unfair; true ones
// make it strong.
struct EjectionTick {
  Counts primary, canary;
  // Share of the requests, 0..1, that is meant for the canary while none of its instances is
  // ejected.
  double weight_ratio = 0;
  // Of the canary, how many can be ejected: instances in service, times the callers that each eject
  // for themselves. Below 1 counts as 1.
  std::int64_t active_instances = 1;
  // Whether each of the canary's failed attempts was followed by another one elsewhere.
  bool retried = false;
  // As many of an instance's attempts must fail one after another for its ejection. Below 1 counts
  // as 1.
  std::int64_t failures_in_a_row = 1;

  bool operator==(const EjectionTick&) const = default;
};

// Requests of the tick, each counted once however often the canary failed it.
[[nodiscard]] inline std::int64_t RequestsOf(const EjectionTick& tick) {
  return tick.primary.completed + tick.canary.completed - (tick.retried ? tick.canary.failures : 0);
}

}  // namespace consul_canary::stats
