#include "exporter/metrics/troubles.h"

namespace consul_canary::metrics {

Troubles& Troubles::operator+=(const Troubles& other) {
  timeouts += other.timeouts;
  connect_failures += other.connect_failures;
  ejections += other.ejections;
  return *this;
}

Troubles TroublesOf(const envoy::SubsetCounters& counters) {
  return {counters.timeouts, counters.connect_failures, counters.ejections_enforced};
}

void AddNew(const Troubles& later, const Troubles& earlier, Troubles& total) {
  const bool went_down = later.timeouts < earlier.timeouts ||
                         later.connect_failures < earlier.connect_failures ||
                         later.ejections < earlier.ejections;
  if (went_down) return;
  total += {.timeouts = later.timeouts - earlier.timeouts,
            .connect_failures = later.connect_failures - earlier.connect_failures,
            .ejections = later.ejections - earlier.ejections};
}

}  // namespace consul_canary::metrics
