// Times and durations as the command line writes and takes them.
#pragma once

#include <chrono>
#include <ctime>
#include <optional>
#include <string>

namespace consul_canary::cli {

// 2026-11-24T17:00:00Z
[[nodiscard]] std::string UtcText(std::time_t seconds_since_1970);

// 90, 90s, 10m, 1h; a year at most. Nothing for anything else.
[[nodiscard]] std::optional<std::chrono::seconds> ParseDuration(const std::string& text);

}  // namespace consul_canary::cli
