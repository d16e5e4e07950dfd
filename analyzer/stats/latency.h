// Latency as Envoy's histograms show it: how many requests were slower than each edge. "Slower than
// edge b" is an outcome with two values, so each edge is judged by the process of harm.h, with its
// own totals. Docs: docs/statistics.md#latency.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "analyzer/stats/counts.h"

namespace consul_canary::stats {

// Requests whose time was measured, and how many of them were slower than each edge (seconds,
// ascending). Counts do not ascend; those of a request that was never finished are in none.
struct LatencyCounts {
  std::int64_t timed = 0;
  std::vector<std::pair<double, std::int64_t>> slower;

  // Edges that one of the two lacks are left out: nobody knows how many were slower.
  LatencyCounts& operator+=(const LatencyCounts& other);
  bool operator==(const LatencyCounts&) const = default;
};

// {timed, slower than the edge}; nullopt where the histogram has no such edge. A tick without timed
// requests has every edge: {0, 0}.
[[nodiscard]] std::optional<Counts> SlowerThan(const LatencyCounts& counts, double edge_seconds);

// The greatest edge at or below, and the least one at or above `seconds`; nullopt: there is none.
[[nodiscard]] std::optional<double> EdgeAtOrBelow(const LatencyCounts& counts, double seconds);
[[nodiscard]] std::optional<double> EdgeAtOrAbove(const LatencyCounts& counts, double seconds);

// The edges to watch for harm: those of 5 ms and more (less nobody feels, and a busy host makes of
// two equal instances) that the share of .0005 to .98 of the primary's requests is slower than,
// and one above. At most 12: of more, every other one is left out from below. Empty
// for fewer than 100 timed requests.
[[nodiscard]] std::vector<double> EdgesToWatch(const LatencyCounts& primary_history);

// T of late.h: the least edge with at most kLateShare / 2 of the primary's requests above it, for
// at least 1000 timed requests. nullopt: too few requests, or no such edge.
[[nodiscard]] std::optional<double> LateAfter(const LatencyCounts& primary_history);

// No less than the mean time of the requests, in seconds: each took as long as its bucket's upper
// edge, or the greatest edge. 0 where none was timed.
[[nodiscard]] double MeanSecondsAtMost(const LatencyCounts& counts);

}  // namespace consul_canary::stats
