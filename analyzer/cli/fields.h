// Reads single fields of the analyzer's answers. What is missing, null or of another type is
// absent, so that an analyzer of another version is shown as far as it is understood. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace consul_canary::cli {

// Empty where it is absent. Control characters become '?': a version or a reason must not be able
// to command a terminal.
[[nodiscard]] std::string Text(const nlohmann::json& object, const char* key);
[[nodiscard]] std::optional<double> Number(const nlohmann::json& object, const char* key);
// An empty object where it is absent. Lives as long as `object`.
[[nodiscard]] const nlohmann::json& Child(const nlohmann::json& object, const char* key);
const nlohmann::json& Child(nlohmann::json&& object, const char* key) = delete;  // would be gone

// The same without control characters.
[[nodiscard]] std::string Harmless(std::string_view text);

}  // namespace consul_canary::cli
