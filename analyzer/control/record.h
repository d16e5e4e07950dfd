// What `--record DIR` writes: each tick of a rollout as docs/recordings.md describes it, so that
// `consul-canaryctl replay` decides again as the live analyzer did.
#pragma once

#include <string>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::control {

// A piece of a rollout's file.
struct RecordPiece {
  std::string file;    // <id>-<when the rollout began, UTC>.jsonl
  std::string header;  // for the file's begin; empty: the rollout has seen requests before
  std::string line;    // of the tick
  double t = 0;        // of the tick
};

// Pure. `before` is the state that is about to see the tick; it is active. The tick's t is not less
// than least_t, whatever the wall clock does.
[[nodiscard]] RecordPiece RecordTick(const std::string& id, const rollout::Spec& spec,
                                     const rollout::State& before, const rollout::Observation& seen,
                                     double least_t);

// Appends to a file in `folder`, which is made where it is missing. A failure is logged, and costs
// the recording alone. A file that begins in the middle of a rollout (recording was switched on
// later) would have no header and is not begun.
void AppendRecord(const std::string& folder, const RecordPiece& piece);

}  // namespace consul_canary::control
