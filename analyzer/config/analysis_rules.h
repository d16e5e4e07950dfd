// The `analysis` part of a specification: its keys, and what contradicts what in it. Internal to
// config/; the keys are described in docs/spec.md.
#pragma once

#include "analyzer/rollout/spec.h"
#include "exporter/config/rules.h"

namespace consul_canary::config {

// `spec` must outlive the rule.
[[nodiscard]] Rule Analysis(rollout::Spec& spec);

// Contradictions within `analysis` and between it and `strategy`, once both are read: what would be
// accepted and then ignored is one as well.
void CheckAnalysis(const rollout::Spec& spec, Findings& findings);

}  // namespace consul_canary::config
