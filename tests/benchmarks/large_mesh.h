// A mesh of many services as a snapshot, without a network: what the exporter renders in
// metrics_benchmark.cc and in tests of its page.
#pragma once

#include <cstddef>

#include "exporter/collect/snapshot.h"

namespace consul_canary::benchmarks {

struct LargeMesh {
  std::size_t services = 1000;  // service-0000, …; each with the subsets primary and canary
  std::size_t callers = 5;      // sidecars that call each service, each of its own
  std::size_t instances = 4;    // of each service, three of them primary
};

// The mesh when every caller's sidecar has counted `round` times what it counts in a round.
[[nodiscard]] collect::MeshSnapshot SnapshotOf(const LargeMesh& mesh, unsigned round);

}  // namespace consul_canary::benchmarks
