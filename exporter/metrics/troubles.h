// What goes wrong at callers' sidecars beside the answers: cumulative counters that no verdict
// rests on, but that say why a verdict is what it is. Pure.
#pragma once

#include <cstdint>

#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::metrics {

struct Troubles {
  std::uint64_t timeouts = 0;          // requests that took longer than their route allows
  std::uint64_t connect_failures = 0;  // connections that did not come about
  std::uint64_t ejections = 0;         // instances that outlier detection took out

  Troubles& operator+=(const Troubles& other);
  bool operator==(const Troubles&) const = default;
};

[[nodiscard]] Troubles TroublesOf(const envoy::SubsetCounters& counters);

// Adds what one sidecar has counted since `earlier`. Nothing where a counter went down: the sidecar
// restarted, and what it counted in between is not known.
void AddNew(const Troubles& later, const Troubles& earlier, Troubles& total);

}  // namespace consul_canary::metrics
