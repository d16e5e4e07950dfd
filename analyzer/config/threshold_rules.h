// `analysis.thresholds` of a specification: the keys of one threshold, which its metric decides,
// and what contradicts what in them. Internal to config/.
#pragma once

#include <vector>

#include "analyzer/rollout/spec.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {

// `thresholds` must outlive the rule.
[[nodiscard]] Rule Thresholds(std::vector<rollout::Threshold>& thresholds);

// Contradictions between thresholds, `analysis.judge` and `strategy`, once all are read.
void CheckThresholds(const rollout::Spec& spec, Findings& findings);

}  // namespace consul_canary::config
