// The rules of `strategy`. Internal to config/.
#pragma once

#include "analyzer/rollout/spec.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {

// The specification must outlive the rule.
[[nodiscard]] Rule Strategy(rollout::Spec& spec);

// Contradictions between the keys of `strategy`, once the whole document has been read.
void CheckStrategy(const rollout::Spec& spec, Findings& findings);

}  // namespace consul_canary::config
