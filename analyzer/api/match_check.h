// What the service-router says to `strategy.match`. Needs no I/O.
#pragma once

#include <optional>
#include <vector>

#include "analyzer/api/mesh_check.h"
#include "analyzer/rollout/spec.h"
#include "exporter/consul/config_entries.h"

namespace consul_canary::api {

// Adds what is wrong, and what a person may not have thought of, before a rollout with a match.
void CheckMatch(const rollout::Spec& spec, const std::optional<consul::Router>& router,
                MeshCheck& check);

}  // namespace consul_canary::api
