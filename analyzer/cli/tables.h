// The tables of `list`, `get`, `status` and `history`, from the analyzer's JSON (docs/api.md).
// Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "analyzer/cli/look.h"

namespace consul_canary::cli {

// The heading, and a row for each of a list of rollouts.
[[nodiscard]] std::string RolloutTable(const nlohmann::json& rollouts, const Look& look);
// One rollout: its row, and what lies behind it.
[[nodiscard]] std::string RolloutDetails(const nlohmann::json& rollout, const Look& look);
// Of a list of decisions, in its order.
[[nodiscard]] std::string DecisionTable(const nlohmann::json& decisions, const Look& look);

}  // namespace consul_canary::cli
