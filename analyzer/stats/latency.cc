#include "analyzer/stats/latency.h"

#include <algorithm>
#include <cmath>

#include "analyzer/stats/late.h"

namespace consul_canary::stats {
namespace {

constexpr double kLeastEdgeSeconds = 0.005;
constexpr double kLeastShare = 0.0005;
constexpr double kGreatestShare = 0.98;
constexpr std::int64_t kLeastToWatch = 100;
constexpr std::int64_t kLeastForLate = 1000;
constexpr std::size_t kMostEdges = 12;
// Edges come from milliseconds, objectives from seconds: the same edge may differ in its last
// digit.
constexpr double kSameEdge = 1e-9;

bool IsSame(double a, double b) { return std::abs(a - b) <= kSameEdge * std::max(a, b); }

double SlowerShare(std::int64_t slower, const LatencyCounts& counts) {
  return static_cast<double>(slower) / static_cast<double>(counts.timed);
}

// Never the last one, which nearly no request of the primary crosses.
void LeaveOutFromBelow(std::vector<double>& edges) {
  while (edges.size() > kMostEdges) {
    for (std::size_t i = 0; i + 1 < edges.size() && edges.size() > kMostEdges; ++i) {
      edges.erase(edges.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

}  // namespace

LatencyCounts& LatencyCounts::operator+=(const LatencyCounts& other) {
  if (other.timed == 0) return *this;
  if (timed == 0) return *this = other;
  timed += other.timed;
  std::erase_if(slower, [&other](auto& edge) {
    const std::optional<Counts> more = SlowerThan(other, edge.first);
    if (more) edge.second += more->failures;
    return !more;
  });
  return *this;
}

std::optional<Counts> SlowerThan(const LatencyCounts& counts, double edge_seconds) {
  if (counts.timed == 0) return Counts{};
  for (const auto& [edge, slower] : counts.slower) {
    if (IsSame(edge, edge_seconds)) return Counts{counts.timed, slower};
  }
  return std::nullopt;
}

std::optional<double> EdgeAtOrBelow(const LatencyCounts& counts, double seconds) {
  std::optional<double> nearest;
  for (const auto& [edge, slower] : counts.slower) {
    if (edge < seconds || IsSame(edge, seconds)) nearest = edge;
  }
  return nearest;
}

std::optional<double> EdgeAtOrAbove(const LatencyCounts& counts, double seconds) {
  for (const auto& [edge, slower] : counts.slower) {
    if (edge > seconds || IsSame(edge, seconds)) return edge;
  }
  return std::nullopt;
}

std::vector<double> EdgesToWatch(const LatencyCounts& primary_history) {
  std::vector<double> edges;
  if (primary_history.timed < kLeastToWatch) return edges;
  for (const auto& [edge, slower] : primary_history.slower) {
    const double share = SlowerShare(slower, primary_history);
    const bool is_felt = edge > kLeastEdgeSeconds || IsSame(edge, kLeastEdgeSeconds);
    if (share <= kGreatestShare && is_felt) edges.push_back(edge);
    if (share < kLeastShare && is_felt) break;  // the one above
  }
  LeaveOutFromBelow(edges);
  return edges;
}

std::optional<double> LateAfter(const LatencyCounts& primary_history) {
  if (primary_history.timed < kLeastForLate) return std::nullopt;
  for (const auto& [edge, slower] : primary_history.slower) {
    if (SlowerShare(slower, primary_history) <= kLateShare / 2) return edge;
  }
  return std::nullopt;
}

double MeanSecondsAtMost(const LatencyCounts& counts) {
  if (counts.timed == 0) return 0.0;
  double seconds = 0.0;
  double edge_below = 0.0;
  double share_above = 1.0;  // of the requests, slower than the edge below
  for (const auto& [edge, slower] : counts.slower) {
    seconds += (edge - edge_below) * share_above;
    edge_below = edge;
    share_above = SlowerShare(slower, counts);
  }
  return seconds;
}

}  // namespace consul_canary::stats
