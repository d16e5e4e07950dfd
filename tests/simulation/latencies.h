// How long simulated requests take, and the histograms that Envoy would show.
#pragma once

#include <cstdint>

#include "analyzer/stats/latency.h"
#include "tests/simulation/draws.h"
#include "tests/simulation/traffic.h"

namespace consul_canary::simulation {

// Envoy's default buckets up to a minute; everything 0.
[[nodiscard]] stats::LatencyCounts EmptyHistogram();

// One request that took `seconds`.
void AddRequest(stats::LatencyCounts& histogram, double seconds);

// n requests of an instance that did not stall.
[[nodiscard]] stats::LatencyCounts Histogram(const Latency& latency, std::int64_t n,
                                             Random& random);

[[nodiscard]] double RequestSeconds(const Latency& latency, Random& random);

}  // namespace consul_canary::simulation
