// What `--record DIR` writes: a rollout as docs/recordings.md describes it, so that
// `consul-canaryctl replay` decides again as the live analyzer did. A line for each tick, and one
// for each look between ticks that takes an order or decides something.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "analyzer/rollout/decide.h"
#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"
#include "exporter/base/result.h"

namespace consul_canary::control {

// How far the recording of one rollout has come. Lives as long as we manage it.
struct Recorded {
  double start = 0;                   // which rollout: when it began
  double t = 0;                       // of the last line
  std::optional<rollout::Spec> spec;  // as the lines so far have it; nullopt: not known
  double attempts_together = 0;       // the same; 0: not known
  double request_timeout_seconds = 0;
  // The last lines did not come to stand: the next one goes on from the state before them.
  bool went_back = false;
  bool restarted = false;    // an analyzer has loaded the rollout since the last line
  std::string ordered_by;    // who ordered the last start; empty: nobody
  double ordered_start = 0;  // which rollout that was
};

// A piece of a rollout's file.
struct RecordPiece {
  std::string file;    // <id>-<when the rollout began, UTC>.jsonl
  std::string header;  // for the file's begin; empty: the rollout has seen requests before
  std::string line;
};

// One call of Decide(). All outlive the call alone.
struct RecordedLook {
  const rollout::Spec& spec;
  const rollout::State& before;
  const rollout::Observation& seen;
  const rollout::Outcome& outcome;
};

// Pure. What the look adds to the recording; nullopt: nothing, since no rollout was under way or
// nothing came of a look between ticks. To be written before the outcome is committed: what is then
// not committed is taken back by NoteUndone().
[[nodiscard]] std::optional<RecordPiece> RecordLook(const std::string& id, const RecordedLook& look,
                                                    Recorded& recorded);

// The last look's outcome was not committed.
void NoteUndone(Recorded& recorded);
// `loaded` gives way to all that was believed.
void NoteLoaded(const rollout::State& loaded, Recorded& recorded);

// Why recordings cannot be written to `folder`, which is made where it is missing.
[[nodiscard]] base::Result<void> CheckRecordFolder(const std::string& folder);

// Appends to the files in a folder. Not thread-safe.
class Recorder {
 public:
  explicit Recorder(std::string folder) : folder_(std::move(folder)) {}

  // A file that begins in the middle of a rollout (recording was switched on later) would have no
  // header and is not begun. A failure is logged and ends this file with the last whole line, since
  // one that has lost lines would be replayed to something else.
  void Append(const RecordPiece& piece);

 private:
  std::string folder_;
  std::set<std::string> ended_;  // files
};

}  // namespace consul_canary::control
