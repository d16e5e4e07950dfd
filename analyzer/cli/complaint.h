// What is said of a command line that is not understood: what is wrong, and what would be right.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace consul_canary::cli {

// `app` as it was left by the parse that ended with `error`; `arguments` as they were given,
// without the program's name. Lines without a newline at the end.
[[nodiscard]] std::string Complaint(const CLI::App& app, const CLI::ParseError& error,
                                    const std::vector<std::string>& arguments);

}  // namespace consul_canary::cli
