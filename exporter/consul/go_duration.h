// Durations as Go writes them, which Consul takes and answers.
#pragma once

#include <optional>
#include <string_view>

namespace consul_canary::consul {

// "1m30s", "1.5s", "500ms"; nullopt: it is none.
[[nodiscard]] std::optional<double> ParseGoNanoseconds(std::string_view text);

}  // namespace consul_canary::consul
