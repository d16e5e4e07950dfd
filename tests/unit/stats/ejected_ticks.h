// Every tick that a mesh with ejection can show, with its chance, by exact enumeration over the
// order of its requests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "analyzer/stats/ejection.h"

namespace consul_canary::stats {

// One tick. Requests come one after the other; each goes to the canary with a chance that may
// depend on the place in the tick and on how many requests the canary has failed so far.
struct EjectedMesh {
  std::int64_t requests = 0;
  double primary_rate = 0;  // of failures
  double canary_rate = 0;
  bool retried = false;  // what the canary fails, at the primary, within the tick
  // (place of the request, canary's failures before it) -> chance that the canary gets it.
  std::function<double(std::int64_t, std::int64_t)> canary_chance;
};

// All of the weight until as many requests have failed as there are instances.
inline std::function<double(std::int64_t, std::int64_t)> StopsAfter(double weight_ratio,
                                                                    std::int64_t instances) {
  return [=](std::int64_t, std::int64_t failures) {
    return failures < instances ? weight_ratio : 0.0;
  };
}

// Envoy's spill-over between priorities: with 1 of 2 instances left the canary keeps 70% of its
// weight.
inline std::function<double(std::int64_t, std::int64_t)> SpillsOver(double weight_ratio,
                                                                    std::int64_t instances) {
  return [=](std::int64_t, std::int64_t failures) {
    const double left = static_cast<double>(instances - failures) / static_cast<double>(instances);
    return failures < instances ? weight_ratio * std::min(1.0, 1.4 * left) : 0.0;
  };
}

// The chances of all (canary's requests, canary's failures, primary's failures).
class EjectedTicks {
 public:
  explicit EjectedTicks(const EjectedMesh& mesh) : mesh_(mesh), width_(mesh.requests + 1) {
    chances_.assign(static_cast<std::size_t>(width_ * width_ * (2 * width_)), 0.0);
    chances_[Index(0, 0, 0)] = 1.0;
    for (std::int64_t place = 0; place < mesh.requests; ++place) Advance(place);
  }

  // sum(tick, chance) for each tick that can be, with counts alone set.
  template <class Use>
  void ForEach(const Use& use) const {
    for (std::int64_t n = 0; n < width_; ++n) {
      for (std::int64_t y = 0; y <= n; ++y) {
        for (std::int64_t x = 0; x < 2 * width_; ++x) {
          const double chance = chances_[Index(n, y, x)];
          if (chance == 0.0) continue;
          EjectionTick tick;
          tick.canary = {n, y};
          tick.primary = {mesh_.requests - n + (mesh_.retried ? y : 0), x};
          tick.retried = mesh_.retried;
          use(tick, chance);
        }
      }
    }
  }

  [[nodiscard]] const EjectedMesh& mesh() const { return mesh_; }

 private:
  [[nodiscard]] std::size_t Index(std::int64_t n, std::int64_t y, std::int64_t x) const {
    return static_cast<std::size_t>((n * width_ + y) * 2 * width_ + x);
  }

  void Advance(std::int64_t place) {
    std::vector<double> next(chances_.size(), 0.0);
    const double p = mesh_.primary_rate;
    for (std::int64_t n = 0; n <= place; ++n) {
      for (std::int64_t y = 0; y <= n; ++y) {
        const double canary = mesh_.canary_chance(place, y);
        for (std::int64_t x = 0; x <= 2 * place; ++x) {
          const double chance = chances_[Index(n, y, x)];
          if (chance == 0.0) continue;
          next[Index(n, y, x)] += chance * (1 - canary) * (1 - p);
          next[Index(n, y, x + 1)] += chance * (1 - canary) * p;
          if (canary == 0.0) continue;
          next[Index(n + 1, y, x)] += chance * canary * (1 - mesh_.canary_rate);
          const double fails = chance * canary * mesh_.canary_rate;
          next[Index(n + 1, y + 1, x)] += fails * (mesh_.retried ? 1 - p : 1.0);
          if (mesh_.retried) next[Index(n + 1, y + 1, x + 1)] += fails * p;
        }
      }
    }
    chances_ = std::move(next);
  }

  const EjectedMesh mesh_;
  const std::int64_t width_;
  std::vector<double> chances_;
};

// E[exp(log_evidence(tick))].
template <class LogEvidence>
double ExpectedEvidence(const EjectedTicks& ticks, const LogEvidence& log_evidence) {
  double sum = 0.0;
  ticks.ForEach([&](const EjectionTick& tick, double chance) {
    sum += chance * std::exp(log_evidence(tick));
  });
  return sum;
}

}  // namespace consul_canary::stats
