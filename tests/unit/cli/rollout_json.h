// A rollout's JSON as the analyzer answers it (docs/api.md), for what is shown of it.
#pragma once

#include <nlohmann/json.hpp>

namespace consul_canary::cli {

// Progressing at the second of three steps, the last of which pauses.
inline nlohmann::json SteppingRollout() {
  return nlohmann::json::parse(R"json({
    "service": "api", "phase": "progressing", "stage": "stepping", "step": 2, "steps": 3,
    "last_step": 2, "weight": 25, "observed_weight": 25, "observed_primary_weight": 75,
    "canary_version": "v2", "primary_version": "v1", "verdict": "undecided",
    "reason": "collects evidence: ln M of harm 0.52 of 4.61, of safety 1.60 of 3.00",
    "waits": "", "unknown": "", "problem": "", "foreign_edit": false, "decisions": 3,
    "plan": [{"weight": 10, "min_duration_seconds": 0, "pause": false},
             {"weight": 25, "min_duration_seconds": 30, "pause": false},
             {"weight": 50, "min_duration_seconds": 0, "pause": true}],
    "stage_seconds": 12.4,
    "next": {"decision": "advance to step 3 of 3, 50%", "deadline_seconds": 3540,
             "on_deadline": "hold",
             "waits_for": "the minimum duration (18 s more), proof of safety (1.60 of 3.00)"},
    "instances": {"primary": 2, "canary": 1}, "stragglers": "", "callers": 2,
    "outcomes_age_seconds": 0.84,
    "evidence": {"log_harm": 0.52, "harm_bound": 4.61, "log_safe": 1.6, "safe_bound": 3.0,
      "metrics": {"failure_ratio": {"log_harm": 0.52, "log_safe": 1.6, "blamed": false},
                  "late": {"log_harm": -0.1, "blamed": false}},
      "step": {"primary": {"completed": 900, "failures": 3},
               "canary": {"completed": 220, "failures": 1}},
      "rollout": {"primary": {"completed": 9876, "failures": 12},
                  "canary": {"completed": 1234, "failures": 3}}}})json");
}

}  // namespace consul_canary::cli
