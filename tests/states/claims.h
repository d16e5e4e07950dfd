// What must hold after every event, whatever came before.
#pragma once

#include <string>
#include <vector>

#include "tests/states/model.h"

namespace consul_canary::states {

// What the last event has broken, in words; empty: nothing.
[[nodiscard]] std::vector<std::string> BrokenClaims(const Model& model);

}  // namespace consul_canary::states
