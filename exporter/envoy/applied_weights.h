// The weights that a sidecar applies now, read from its admin port. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "exporter/base/result.h"

namespace consul_canary::envoy {

// `GET /config_dump?resource=dynamic_route_configs` → route (upstream service) → subset → share
// 0..1. A route that names one cluster instead of weighted ones gives that subset 1. The cluster
// name's first label is the subset; clusters without a subset have the empty name. Where routes of
// one service differ (a router with several matches), the shares of the one with the least
// agreement are not merged: the last catch-all route counts.
[[nodiscard]] base::Result<std::map<std::string, std::map<std::string, double>>> ReadAppliedWeights(
    std::string_view config_dump);

}  // namespace consul_canary::envoy
