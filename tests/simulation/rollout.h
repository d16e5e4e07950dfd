// One rollout under rollout::Decide, in a mesh that at once does what is wanted (as the one that
// recordings are replayed in).
#pragma once

#include "analyzer/rollout/decide.h"
#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"
#include "tests/simulation/stream.h"

namespace consul_canary::simulation {

// The primary alone: before the canary's version appears, and while its instances are awaited.
struct Before {
  int idle_seconds = 0;
  int prepare_seconds = 0;

  bool operator==(const Before&) const = default;
};

class Rollout {
 public:
  // Afterwards the first step's weight is confirmed. Specification and stream must outlive this.
  Rollout(const rollout::Spec& spec, Stream& stream, const Before& before);

  // One second.
  void Tick(rollout::TickCounts counts);

  // Of the requests of the second that comes next.
  [[nodiscard]] double canary_ratio() const { return state_.wanted.canary_percent / 100; }
  [[nodiscard]] double late_after_seconds() const { return state_.evidence.late_after_seconds; }
  [[nodiscard]] const rollout::Verdict& verdict() const { return verdict_; }
  [[nodiscard]] const rollout::State& state() const { return state_; }
  [[nodiscard]] const rollout::Observation& seen() const { return seen_; }  // at the last tick
  [[nodiscard]] bool rolled_back() const;
  [[nodiscard]] bool promoted() const { return state_.phase == rollout::Phase::kSucceeded; }

 private:
  void ServeAlone(Stream& stream, int seconds);
  void Start();
  void Look();

  const rollout::Spec& spec_;
  const Stream& stream_;
  int canary_instances_;
  rollout::State state_;
  rollout::Observation seen_;
  rollout::Verdict verdict_;
  std::uint64_t moves_ = 0;
};

}  // namespace consul_canary::simulation
