// The rules of `strategy.match`. Internal to config/.
#pragma once

#include <vector>

#include "analyzer/rollout/match.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {

// The target must outlive the rule.
[[nodiscard]] Rule Matches(std::vector<rollout::Match>& target);

}  // namespace consul_canary::config
