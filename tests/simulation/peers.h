// Who is compared in a race: our judge, and those of Flagger and Kayenta by the analyzer's own
// fixed thresholds, with the settings that their documentation and source name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/thresholds.h"
#include "tests/simulation/rollout.h"
#include "tests/simulation/stream.h"

namespace consul_canary::simulation {

struct Entrant {
  std::string name;
  rollout::Spec spec;
  double acts_after_seconds = 0;  // between the check that was one too many and the rollback
};

// rollout::Decide with this specification.
[[nodiscard]] Entrant Ours(rollout::Spec spec, double false_rollback);

// Flagger's request-success-rate, at least 99% as in its documentation. `check_seconds`: interval
// of the analysis and window of the metric; default 60, least 10 (flagger
// pkg/apis/flagger/v1beta1/canary.go). `failed_checks`: threshold; its documentation has 5,
// least 1. Flagger acts at the run after the one that reached the threshold
// (pkg/controller/scheduler.go).
[[nodiscard]] Entrant Flagger(double check_seconds, int failed_checks);

// Kayenta's Mann-Whitney judge on failure ratios, its defaults for confidence (.98) and tolerance
// (.25); the first judgement that fails ends the analysis. Intervals are whole minutes (kayenta
// CanaryAnalysisExecutionRequest.java), points whole seconds.
[[nodiscard]] Entrant Kayenta(double point_seconds, double interval_seconds);

// An entrant while it runs: takes the seconds of one stream, one after the other. Fixed thresholds
// are fed directly: the peers have neither warm-up nor a rule for gross failure. Not to be moved.
class Contestant {
 public:
  // past: what our judge sees before the first of these seconds.
  Contestant(const Entrant& entrant, Stream& past, const Before& before);
  Contestant(const Contestant&) = delete;
  Contestant& operator=(const Contestant&) = delete;

  // Whether the canary is rolled back after this second.
  bool Takes(const rollout::TickCounts& tick);

 private:
  Entrant entrant_;
  std::optional<Rollout> rollout_;  // ours
  std::vector<rollout::ThresholdState> thresholds_;
  bool harm_ = false;
  double seconds_since_harm_ = 0;
};

}  // namespace consul_canary::simulation
