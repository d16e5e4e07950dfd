// Sidecars that a file names, for meshes where Consul may not be asked for them or does not know
// them. Pure; the format is described in docs/discovery.md.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::collect {

struct StaticTarget {
  std::string address;               // host:port, with a real host
  bool admin = false;                // Envoy's admin port instead of envoy_prometheus_bind_addr
  std::string service;               // whose sidecar it is
  std::vector<std::string> calls;    // services
  std::vector<std::string> subsets;  // of `service`, that hold the instance behind it
  std::string instance;              // Service.ID of that instance; may be empty

  bool operator==(const StaticTarget&) const = default;
};

// By address.
using StaticTargets = std::map<std::string, StaticTarget>;

// All that is wrong with the text, or every target; kInvalid holds one complaint a line, each with
// its line and field.
[[nodiscard]] base::Result<StaticTargets> ParseStaticTargets(std::string_view text);

// The same of a file; the error names it.
[[nodiscard]] base::Result<StaticTargets> ReadStaticTargets(const std::string& path);

// As Consul would list the sidecar: node "static", and the address as id. Nobody checks it, so it
// counts as passing.
[[nodiscard]] consul::Instance ToInstance(const StaticTarget& target);

}  // namespace consul_canary::collect
