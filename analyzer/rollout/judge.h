// From a tick's counts to a verdict. Pure: the evidence is updated in place and is part of the
// state.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/rollout/observation.h"
#include "analyzer/rollout/spec.h"
#include "analyzer/rollout/state.h"

namespace consul_canary::rollout {

// "No data", "bad data" and "bad canary" are different things.
enum class VerdictKind {
  kNoData,     // nothing was judged yet at this step
  kWarmup,     // requests are not judged yet
  kUntrusted,  // the canary's share of the requests is not its weight, or it completes none
  kUndecided,  // neither proven worse nor proven safe
  kSafe,       // proven not worse than the margin at this step
  kHarm,       // proven worse
};

[[nodiscard]] std::string_view ToString(VerdictKind kind);

// The failure ratio's share of the stake of harm while latency and hanging requests are watched as
// well: a canary that fails must then bring ln 1/.6 = 0.5 more evidence.
inline constexpr double kFailureWeight = 0.6;

// One metric's own evidence. Its harm counts in the average, its safety by itself.
struct MetricVerdict {
  std::string name;   // failure_ratio, latency_250ms, late
  double weight = 0;  // in the average of harm; 0: not in it
  std::optional<double> log_harm;
  std::optional<double> log_safe;  // critical metrics alone
  bool blamed = false;             // stands out by e-BH, once harm is proven

  bool operator==(const MetricVerdict&) const = default;
};

struct Verdict {
  VerdictKind kind = VerdictKind::kNoData;
  bool gross_failure =
      false;  // more than half of at least 10 of the canary's requests failed, not the primary's
  double log_harm = 0;                 // ln of the weighted average over the metrics
  double log_safe = 0;                 // the least of the critical metrics'
  double harm_bound = 0;               // ln 1/alpha
  double safe_bound = 0;               // ln 1/beta
  std::vector<MetricVerdict> metrics;  // failure_ratio first
  // Which threshold exceeded its failures, and what one holds against an advance; empty: none, or
  // no threshold judges.
  std::string threshold_harm;
  std::string threshold_obstacle;
  double overdispersion = 1;
  bool overdispersion_learned = false;   // otherwise it is the floor
  std::optional<double> observed_share;  // of the canary, 0..1
  stats::Interval rate_ratio;            // canary's failure ratio over the primary's
  stats::Interval difference;            // canary's failure ratio less the primary's
  std::vector<std::string> notes;        // what limits this verdict, in words

  bool operator==(const Verdict&) const = default;
};

// Adds the tick to the evidence of an active rollout and says what follows. In warm-up a tick
// teaches only the primary's rate. Without counts nothing moves.
[[nodiscard]] Verdict Judge(const Spec& spec, const Observation& seen, State& state);

// The verdict on the evidence as it stands.
[[nodiscard]] Verdict VerdictOf(const Spec& spec, const State& state);

// Whether the verdict is harm, or counts as harm.
[[nodiscard]] bool IsHarmful(const Verdict& verdict);

// Whether requests count at this moment: not in the warm-up after each increase.
[[nodiscard]] bool IsWarm(const Spec& spec, const State& state);

// Whether the canary has completed nothing while its weight made so many requests due that this is
// no chance.
[[nodiscard]] bool IsSilent(const Evidence& evidence);

// The canary's instance that completes nothing where requests are due, if there is one behind a
// shield; else empty.
[[nodiscard]] std::string SilentInstance(const Evidence& evidence);

// Of the canary's instances, that the callers may keep out of their traffic while it advances.
inline constexpr double kMostEjected = 0.5;

// Whether the callers keep most of the canary's instances out of their traffic, behind a shield:
// what is left of the requests is no proof of health.
[[nodiscard]] bool IsMostlyEjected(const Evidence& evidence);

// "latency_250ms".
[[nodiscard]] std::string LatencyName(double edge_seconds);

}  // namespace consul_canary::rollout
