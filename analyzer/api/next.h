// What a rollout can come to next, and what it waits for until then: for people who look at it. It
// describes what rollout::Decide() does and decides nothing. Pure.
#pragma once

#include <optional>
#include <string>

#include "analyzer/control/view.h"

namespace consul_canary::api {

struct NextDecision {
  std::string decision;                    // "advance to step 2 of 3, 25%"
  std::string waits_for;                   // "proof of safety (1.20 of 3.00)"; empty: nothing more
  std::optional<double> deadline_seconds;  // until then, but for harm; nullopt: no deadline runs
  std::string on_deadline;                 // what follows then; empty: no deadline runs

  bool operator==(const NextDecision&) const = default;
};

[[nodiscard]] NextDecision NextOf(const control::RolloutView& view);

}  // namespace consul_canary::api
