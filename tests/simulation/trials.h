// One run each of a simulated rollout, and of several judges side by side on the same stream.
#pragma once

#include <cstdint>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "tests/simulation/peers.h"
#include "tests/simulation/rollout.h"
#include "tests/simulation/traffic.h"

namespace consul_canary::simulation {

// What a run begins with: half a minute, which a new canary needs anyway; or ten minutes more of
// watching the primary, so that it is known how its failures clump.
inline constexpr Before kBriefly{.prepare_seconds = 30};
inline constexpr Before kAtLength{.idle_seconds = 600, .prepare_seconds = 30};

// What ends a run, besides its horizon, a rollback and a promotion.
enum class Until { kEnd, kSafe, kUntrusted };

struct Setting {
  Traffic traffic;
  rollout::Spec spec;
  int horizon_seconds = 3600;  // from the first step on
  Before before = kBriefly;
  Until until = Until::kEnd;
};

struct Outcome {
  bool rolled_back = false;
  bool promoted = false;
  bool safe = false;       // proven at any time; at the first step where Until::kSafe
  bool untrusted = false;  // at any time
  // Since the canary's fault, or its first second where it has none, until what ended the run.
  int seconds = 0;
  std::int64_t requests = 0;  // of the canary
  std::int64_t failures = 0;
};

// A specification with one step that is kept until harm is proven, planned for an hour; no warm-up,
// so that seconds count from the first that is judged.
[[nodiscard]] rollout::Spec KeptAt(double weight_percent);

[[nodiscard]] Outcome Run(const Setting& setting, std::uint64_t seed, std::uint64_t run);

// Each judge on the same seconds of traffic, each until it would roll back or an hour is over.
// before: what our judge has seen of the primary, on seconds of their own.
[[nodiscard]] std::vector<Outcome> Race(const Traffic& traffic, double weight_percent,
                                        const Before& before, const std::vector<Entrant>& entrants,
                                        std::uint64_t seed, std::uint64_t run);

}  // namespace consul_canary::simulation
