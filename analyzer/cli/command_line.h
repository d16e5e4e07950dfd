// The flags and subcommands of consul-canaryctl, and which of commands.h each one runs.
#pragma once

namespace consul_canary::cli {

// Returns the exit status (commands.h).
int RunCommandLine(int argc, char** argv);

}  // namespace consul_canary::cli
