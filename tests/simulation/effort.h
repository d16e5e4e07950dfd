// How much is simulated.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/simulation/trials.h"

namespace consul_canary::simulation {

// The short form finds a broken promise within a minute of the ordinary test run; the long one
// gives the figures of the documentation.
struct Effort {
  bool is_long = false;
  unsigned threads = 1;

  [[nodiscard]] int runs(int in_short, int in_long) const { return is_long ? in_long : in_short; }
  // What a rollout begins with, where nothing else is asked for.
  [[nodiscard]] const Before& before() const { return is_long ? kAtLength : kBriefly; }
};

// One run after the other of a setting; where it begins briefly, as the effort says.
[[nodiscard]] std::vector<Outcome> RunOften(Setting setting, int runs, std::uint64_t seed,
                                            const Effort& effort);

}  // namespace consul_canary::simulation
