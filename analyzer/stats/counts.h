// The observation that all comparisons of failures share.
#pragma once

#include <cstdint>

namespace consul_canary::stats {

// Requests that one subset finished within one tick (or before a rollout), and how many of them
// failed. Invariant: 0 <= failures <= completed.
struct Counts {
  std::int64_t completed = 0;
  std::int64_t failures = 0;

  Counts& operator+=(const Counts& other) {
    completed += other.completed;
    failures += other.failures;
    return *this;
  }
  bool operator==(const Counts&) const = default;
};

}  // namespace consul_canary::stats
