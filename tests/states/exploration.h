// Every order of events up to a depth, from each world that an undisturbed rollout goes through.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/states/rules.h"

namespace consul_canary::states {

struct Found {
  std::size_t beginnings = 0;  // worlds on the undisturbed ways
  std::size_t worlds = 0;      // different ones that were visited
  std::size_t events = 0;      // that were applied
  int longest_quiet_ticks = 0;
  std::vector<std::string> problems;  // the first few, each with the shortest way to it
};

// Breadth-first, so that a problem comes with its shortest way; each world is also run to its end
// in a good and in a bad quiet world.
[[nodiscard]] Found Explore(const Rules& rules, int depth);

}  // namespace consul_canary::states
