// Gateways call services too. Which ones, Consul tells in the catalog. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"

namespace consul_canary::collect {

// Names of gateway services whose traffic splitters move: ingress and API gateways.
[[nodiscard]] std::string GatewaysPath();

// The services that one gateway calls.
[[nodiscard]] std::string GatewayServicesPath(std::string_view gateway);
[[nodiscard]] base::Result<std::vector<std::string>> ParseGatewayServices(std::string_view json);

}  // namespace consul_canary::collect
