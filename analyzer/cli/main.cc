// consul-canaryctl: the command line. It speaks to the analyzer's API alone; validate, plan, replay
// and completion need nothing but files.

#include "analyzer/cli/command_line.h"

int main(int argc, char** argv) { return consul_canary::cli::RunCommandLine(argc, argv); }
