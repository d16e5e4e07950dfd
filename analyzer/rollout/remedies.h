// What would let a step of a plan be decided before its deadline. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "analyzer/rollout/expectation.h"
#include "analyzer/rollout/plan.h"

namespace consul_canary::rollout {

// Of the step at `index`, which is not decided in nearly all runs although the canary is healthy as
// in `traffic`. `needed` is RequestsNeeded() of both.
[[nodiscard]] std::vector<Remedy> RemediesOf(const Spec& spec, std::size_t index,
                                             const Traffic& traffic, double needed);

}  // namespace consul_canary::rollout
