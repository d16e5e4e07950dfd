// `strategy.match` as Consul's service-router has it. Pure.
#pragma once

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "exporter/consul/match_routes.h"

namespace consul_canary::control {

// A cookie is a condition on the header `cookie`, in RE2's syntax, which Envoy holds against all of
// it.
[[nodiscard]] consul::MatchRoutes RoutesOf(const rollout::Spec& spec);

// Without epoch.
[[nodiscard]] rollout::RouterView RouterViewOf(const consul::Router& router,
                                               const rollout::Spec& spec);

}  // namespace consul_canary::control
