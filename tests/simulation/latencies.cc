#include "tests/simulation/latencies.h"

#include <array>
#include <cmath>
#include <numbers>

namespace consul_canary::simulation {
namespace {

constexpr std::array kEdges = {0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                               0.5,    1.0,   2.5,   5.0,  10.0,  30.0, 60.0};

double ChanceSlower(const Latency& latency, double edge) {
  const double deviations = std::log(edge / latency.median_seconds) / latency.sigma;
  return std::erfc(deviations / std::numbers::sqrt2) / 2;
}

}  // namespace

stats::LatencyCounts EmptyHistogram() {
  stats::LatencyCounts histogram;
  histogram.slower.reserve(kEdges.size());
  for (const double edge : kEdges) histogram.slower.emplace_back(edge, 0);
  return histogram;
}

void AddRequest(stats::LatencyCounts& histogram, double seconds) {
  ++histogram.timed;
  for (auto& [edge, slower] : histogram.slower) {
    if (seconds <= edge) return;
    ++slower;
  }
}

stats::LatencyCounts Histogram(const Latency& latency, std::int64_t n, Random& random) {
  stats::LatencyCounts histogram = EmptyHistogram();
  histogram.timed = n;
  double chance = 1;
  std::int64_t left = n;
  for (auto& [edge, slower] : histogram.slower) {
    const double next = ChanceSlower(latency, edge);
    left = Binomial(left, next / chance, random);
    if (left == 0) break;
    slower = left;
    chance = next;
  }
  return histogram;
}

double RequestSeconds(const Latency& latency, Random& random) {
  return latency.median_seconds * std::exp(latency.sigma * Normal(random));
}

}  // namespace consul_canary::simulation
