// `consul-canaryctl watch`: what rollouts do, as it happens. On a terminal a tree is drawn over
// itself; elsewhere each change is a line. An analyzer that restarts is waited for.
#pragma once

#include <string>

#include "analyzer/cli/commands.h"

namespace consul_canary::cli {

struct WatchOptions {
  std::string service;      // empty: all
  std::string version;      // until_done: only the end of a rollout of this version counts
  bool until_done = false;  // ends with the rollout, and exits as `status` does
};

// 0: ended by a signal, or, with until_done, promoted; 1: the analyzer refuses, or rolled back;
// 3: until_done, and ended before the rollout was.
int Watch(const Connection& connection, const WatchOptions& options, Format format);

}  // namespace consul_canary::cli
