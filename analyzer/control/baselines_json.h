// What each caller's sidecar had counted, as JSON: part of a rollout's stored state. Internal to
// control/: reading throws, as the rest of stored_json.cc does inside.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "exporter/envoy/outcomes.h"

namespace consul_canary::control {

// A histogram has the same edges at most sidecars, so they are stored once, in `edge_lists`, an
// array that this appends to.
[[nodiscard]] nlohmann::json BaselinesToJson(const envoy::Baselines& baselines,
                                             nlohmann::json& edge_lists);

// From the whole state: its "baselines" and its "histogram_edges".
[[nodiscard]] envoy::Baselines BaselinesFromJson(const nlohmann::json& state);

}  // namespace consul_canary::control
