// Completion scripts for bash and zsh, made from the commands and flags as they are declared.
// Services are asked for when completion needs them, with a second's patience; without an analyzer
// that answers there are none, silently. Neither script needs anything beside its shell.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace consul_canary::cli {

// The hidden command that prints the names of services, for the scripts.
inline constexpr const char* kServicesCommand = "__services";

[[nodiscard]] std::string BashCompletion(const CLI::App& app);
[[nodiscard]] std::string ZshCompletion(const CLI::App& app);

}  // namespace consul_canary::cli
