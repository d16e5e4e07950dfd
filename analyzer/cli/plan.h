// How a plan is shown (rollout/plan.h makes it).
#pragma once

#include <string>

#include "analyzer/rollout/plan.h"

namespace consul_canary::cli {

[[nodiscard]] std::string PlanTable(const rollout::Plan& plan, const rollout::PlanInput& input);
[[nodiscard]] std::string PlanJson(const rollout::Plan& plan, const rollout::PlanInput& input);

// One or a few lines for `apply`: how long a healthy canary takes, and what cannot be decided.
[[nodiscard]] std::string PlanSummary(const rollout::Plan& plan, const rollout::PlanInput& input);

}  // namespace consul_canary::cli
