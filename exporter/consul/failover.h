// Where a resolver's Failover leads, as far as it stays within the service. For config_entries.cc.
#pragma once

#include <map>
#include <string>

#include "exporter/consul/config_entries.h"
#include "exporter/consul/json_fields.h"

namespace consul_canary::consul {

// Resolver::failover_subsets of `failovers`, the entry's Failover. Of `resolver`, name and place
// are read.
[[nodiscard]] std::map<std::string, std::string> FailoverSubsets(const Json& failovers,
                                                                 const Resolver& resolver);

}  // namespace consul_canary::consul
