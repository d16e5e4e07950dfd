// docs/states.md's table of places in a rollout × events, made by asking Decide().
#pragma once

#include <string>

namespace consul_canary::states {

// Markdown, without the markers around it.
[[nodiscard]] std::string TableOfStates();

}  // namespace consul_canary::states
