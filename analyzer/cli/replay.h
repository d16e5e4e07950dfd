// Runs a recording through the very code that rules a live rollout. Deterministic: the same
// recording gives the same lines, byte for byte. The mesh is taken to do what is wanted at once,
// except where a tick says otherwise.
#pragma once

#include <string>
#include <vector>

#include "analyzer/config/recording.h"
#include "analyzer/rollout/judge.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::cli {

struct ReplayedTick {
  double t = 0;
  bool look = false;  // as RecordedTick::look
  rollout::Verdict verdict;
  rollout::Phase phase = rollout::Phase::kIdle;
  int step = 0;               // from 1; 0: none
  double weight_percent = 0;  // wanted from now on
  std::string reason;
  std::vector<rollout::Decision> decisions;  // since the tick before
};

[[nodiscard]] std::vector<ReplayedTick> Replay(const config::Recording& recording);

[[nodiscard]] std::string ReplayTable(const std::vector<ReplayedTick>& ticks);
[[nodiscard]] std::string ReplayJson(const std::vector<ReplayedTick>& ticks);  // one object a line

}  // namespace consul_canary::cli
