// The weights that a sidecar applies now, read from its admin port. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "exporter/base/result.h"
#include "exporter/consul/config_entries.h"

namespace consul_canary::envoy {

// `GET /config_dump?resource=dynamic_route_configs` → upstream service → subset → share 0..1. The
// service is the virtual host's name (a gateway has many in one route), else the route's. A route
// that names one cluster instead of weighted ones gives that subset 1. The cluster name's first
// label is the subset; clusters without a subset have the empty name. Where routes of one service
// differ (a router with several matches), the last catch-all route counts; shares of other services
// and of services elsewhere than in `place` are left out.
[[nodiscard]] base::Result<std::map<std::string, std::map<std::string, double>>> ReadAppliedWeights(
    std::string_view config_dump, const consul::Place& place = {});

}  // namespace consul_canary::envoy
