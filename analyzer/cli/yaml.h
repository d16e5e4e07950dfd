// JSON as YAML in block style, keys in their order: what `-o yaml` prints of the analyzer's
// answers. Pure.
#pragma once

#include <string>
#include <string_view>

namespace consul_canary::cli {

// Ends with a newline. `json` is what the analyzer answered; what is no JSON comes back as it is.
[[nodiscard]] std::string YamlOf(std::string_view json);

}  // namespace consul_canary::cli
