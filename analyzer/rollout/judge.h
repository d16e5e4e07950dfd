// From a tick's counts to a verdict. Pure: the evidence is updated in place and is part of the
// state.
#pragma once

#include <string_view>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::rollout {

// "No data", "bad data" and "bad canary" are different things.
enum class VerdictKind {
  kNoData,     // nothing was judged yet at this step
  kWarmup,     // requests are not judged yet
  kUndecided,  // neither proven worse nor proven safe
  kSafe,       // proven not worse than the margin at this step
  kHarm,       // proven worse
};

[[nodiscard]] std::string_view ToString(VerdictKind kind);

struct Verdict {
  VerdictKind kind = VerdictKind::kNoData;
  bool gross_failure =
      false;  // more than half of at least 10 of the canary's requests failed, not the primary's
  double log_harm = 0;
  double log_safe = 0;
  double harm_bound = 0;  // ln 1/alpha
  double safe_bound = 0;  // ln 1/beta

  bool operator==(const Verdict&) const = default;
};

// Adds the tick to the evidence of an active rollout and says what follows. In warm-up a tick
// teaches only the primary's rate. Without counts nothing moves.
[[nodiscard]] Verdict Judge(const Spec& spec, const Observation& seen, State& state);

// The verdict on the evidence as it stands.
[[nodiscard]] Verdict VerdictOf(const Spec& spec, const State& state);

}  // namespace consul_canary::rollout
