// The specifications whose rollouts are explored: small steps in time, so that few ticks decide.
// Another strategy or promotion is one more row here; what it adds to the world (a header's route,
// an owner who redeploys the primary, a paused fleet) is an event of events.cc and, where it can go
// wrong, a claim of claims.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/spec.h"

namespace consul_canary::states {

struct Rules {
  std::string_view name;
  rollout::Spec spec;
  rollout::Spec changed;  // with one step less, as its owner may change it in the middle
};

[[nodiscard]] const std::vector<Rules>& AllRules();
// As gtest's parameters.
[[nodiscard]] std::vector<std::string> NamesOfRules();
[[nodiscard]] const Rules& RulesNamed(std::string_view name);

}  // namespace consul_canary::states
