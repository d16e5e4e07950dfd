// A rollout as `watch` draws it: a tree of phase, steps, subsets, evidence and what comes next; and
// as one line for what changed. From the analyzer's JSON (docs/api.md). Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "analyzer/cli/look.h"

namespace consul_canary::cli {

// The lines of one rollout. `brief`: a rollout that is not under way gets two lines only.
[[nodiscard]] std::vector<std::string> Tree(const nlohmann::json& rollout, const Look& look,
                                            bool brief);

// Equal as long as nothing has happened: figures that move with each tick are not in it.
[[nodiscard]] std::string ChangeKey(const nlohmann::json& rollout);
// "api  progressing  step 2/3  25%  v2 over v1  undecided: collects evidence…"
[[nodiscard]] std::string ChangeLine(const nlohmann::json& rollout);

// Whether a rollout is under way.
[[nodiscard]] bool IsUnderWay(const nlohmann::json& rollout);

}  // namespace consul_canary::cli
