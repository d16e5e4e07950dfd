// Which known word was probably meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace consul_canary::config {

// The one of `known` that is a few letters away from `word`; empty: none is near.
[[nodiscard]] std::string Nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace consul_canary::config
