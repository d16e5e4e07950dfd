// Whether a rollout comes to an end once the world is good and quiet.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/states/model.h"

namespace consul_canary::states {

// What a quiet world comes to.
struct Ending {
  int ticks = 0;
  std::string stuck;               // empty: ended, or waits as docs/states.md lists it
  std::vector<std::string> waits;  // for a person, on the way; who then does what is waited for
};

// Runs copies of worlds to their ends. Remembers the worlds that it has come through, so that many
// that lead into one another are run once. For one specification.
class QuietWorld {
 public:
  // Distrust of the canary's share alone lasts up to two windows of a minute.
  static constexpr int kMostTicks = 200;

  explicit QuietWorld(Requests requests) : requests_(requests) {}
  [[nodiscard]] Ending Run(Model model);
  [[nodiscard]] int longest_ticks() const { return longest_; }

 private:
  Requests requests_;
  std::unordered_map<std::uint64_t, int> ticks_left_;  // of worlds that end well
  int longest_ = 0;
};

}  // namespace consul_canary::states
