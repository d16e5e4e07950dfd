// Where the programs are that demo and tests run: `deploy/real-parts/find`, asked once for each.
#pragma once

#include <string>
#include <string_view>

#include "exporter/base/result.h"

namespace consul_canary::testing {

// part: consul, envoy, prometheus, alertmanager, promtool, amtool, hey; python: with the packages
// of tests/oracles/requirements.txt. kNotFound says how to get it.
[[nodiscard]] base::Result<std::string> FindPart(std::string_view part);

}  // namespace consul_canary::testing
