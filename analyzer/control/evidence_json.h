// A rollout's evidence as JSON, part of its stored state. Internal to control/: reading throws, as
// the rest of stored_json.cc does inside.
//
// Numbers come back bit for bit; members that an older release did not write get their defaults, so
// that an analyzer that is upgraded in the middle of a rollout goes on. Open windows of
// over-dispersion are not stored.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "analyzer/rollout/state.h"

namespace consul_canary::control {

[[nodiscard]] nlohmann::json EvidenceToJson(const rollout::Evidence& evidence);
[[nodiscard]] rollout::Evidence EvidenceFromJson(const nlohmann::json& json);

}  // namespace consul_canary::control
