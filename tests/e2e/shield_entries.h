// The shield as an operator would write it: a failing instance of the canary is ejected, and the
// retry of its request goes to the primary. For meshes of `api` with the subsets primary and
// canary, called by `web`.
#pragma once

#include <string>
#include <string_view>

#include "exporter/base/result.h"
#include "tests/support/consul_agent.h"

namespace consul_canary::testing {

// The resolver with or without the failover; the filters are those of Mesh's options.
inline base::Result<void> WriteFailover(const ConsulAgent& consul, bool on) {
  std::string entry = R"({"Kind": "service-resolver", "Name": "api", "DefaultSubset": "primary",
    "Subsets": {"primary": {"Filter": "Service.Meta.version == \"v1\""},
                "canary": {"Filter": "Service.Meta.version == \"v2\""}})";
  if (on) entry += R"(, "Failover": {"canary": {"ServiceSubset": "primary"}})";
  return consul.WriteEntry(entry + "}");
}

// Ejection at the callers' sidecars, at the first failure; with what keeps it from emptying the
// primary.
inline base::Result<void> WriteEjection(const ConsulAgent& consul) {
  const std::string filter = R"("ResourceFilter": {"ResourceType": "cluster",
    "TrafficDirection": "outbound", "Services": [{"Name": "api"}]}, "Op": "add")";
  return consul.WriteEntry(
      R"({"Kind": "service-defaults", "Name": "web", "Protocol": "http",
          "UpstreamConfig": {"Overrides": [{"Name": "api", "PassiveHealthCheck": {
            "MaxFailures": 1, "Interval": "1s", "EnforcingConsecutive5xx": 100,
            "MaxEjectionPercent": 100, "BaseEjectionTime": "3s"}}]},
          "EnvoyExtensions": [{"Name": "builtin/property-override", "Arguments": {
            "ProxyType": "connect-proxy", "Patches": [{)" +
      filter + R"(, "Path": "/common_lb_config/update_merge_window/nanos", "Value": 1000000}, {)" +
      filter + R"(, "Path": "/common_lb_config/healthy_panic_threshold/value", "Value": 50}]}}]})");
}

}  // namespace consul_canary::testing
