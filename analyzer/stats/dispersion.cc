#include "analyzer/stats/dispersion.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace consul_canary::stats {
namespace {

constexpr std::size_t kMostInstances = 64;
constexpr double kHalfLifeSeconds = 3600;

void Add(DispersionState::Window& window, const InstanceCounts& primary) {
  for (const auto& [name, counts] : primary) {
    auto found = window.instances.find(name);
    if (found == window.instances.end()) {
      if (counts.completed == 0 || window.instances.size() >= kMostInstances) continue;
      found = window.instances.emplace(name, Counts{}).first;
    }
    found->second += counts;
  }
}

// The two sums of the header's formula for one window.
struct Terms {
  double excess = 0;
  double expected = 0;
};

Terms TermsOf(const DispersionState::Window& window) {
  double completed = 0.0;
  double failures = 0.0;
  for (const auto& [name, counts] : window.instances) {
    completed += static_cast<double>(counts.completed);
    failures += static_cast<double>(counts.failures);
  }
  Terms terms;
  // Where all requests have the same outcome no deviation is possible.
  if (window.instances.size() < 2 || failures == 0.0 || failures == completed) return terms;
  const double p = failures / completed;
  for (const auto& [name, counts] : window.instances) {
    const double requests = static_cast<double>(counts.completed);
    const double deviation = static_cast<double>(counts.failures) - requests * p;
    terms.excess += deviation * deviation / requests;
  }
  terms.expected = static_cast<double>(window.instances.size() - 1) * p * (1.0 - p);
  return terms;
}

}  // namespace

void ObserveDispersion(DispersionState& state, const InstanceCounts& primary,
                       double elapsed_seconds) {
  assert(elapsed_seconds > 0.0);
  for (std::size_t i = 0; i < kDispersionWindows; ++i) {
    DispersionState::Window& window = state.open[i];
    Add(window, primary);
    window.seconds += elapsed_seconds;
    // Ticks do not last exactly a second: a window ends with the tick that is nearest to its end.
    if (window.seconds + elapsed_seconds / 2 < kDispersionSeconds[i]) continue;
    const Terms terms = TermsOf(window);
    const double kept = std::exp2(-window.seconds / kHalfLifeSeconds);
    state.excess[i] = kept * state.excess[i] + terms.excess;
    state.expected[i] = kept * state.expected[i] + terms.expected;
    window = {};
  }
}

double Overdispersion(const DispersionState& state, double floor) {
  double phi = std::max(1.0, floor);
  for (std::size_t i = 0; i < kDispersionWindows; ++i) {
    if (state.expected[i] > 0.0) phi = std::max(phi, state.excess[i] / state.expected[i]);
  }
  return phi;
}

bool IsDispersionLearned(const DispersionState& state) {
  return std::ranges::any_of(state.expected, [](double expected) { return expected > 0.0; });
}

}  // namespace consul_canary::stats
