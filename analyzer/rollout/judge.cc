#include "analyzer/rollout/judge.h"

#include <algorithm>
#include <cmath>

namespace consul_canary::rollout {
namespace {

// Two recorded ticks may carry the same time; evidence needs some time between them.
constexpr double kShortestTickSeconds = 0.001;
constexpr std::int64_t kGrossRequests = 10;
constexpr std::int64_t kGrossPrimaryDivisor = 10;  // the primary must fail less than a tenth

void Add(stats::Counts& total, const stats::Counts& tick) {
  total.completed += tick.completed;
  total.failures += tick.failures;
}

// Not judged is the warm-up after each increase: from the decision on, and again from the moment on
// when Consul is seen to hold the weight. A write that keeps failing is no reason to look away.
bool IsWarm(const Spec& spec, const State& state) {
  const double seconds = state.confirmed ? state.confirmed_seconds : state.stage_seconds;
  return seconds >= spec.warmup.count();
}

// While all traffic goes to the canary, a caller that lags behind still tells.
bool HasBothArms(const State& state) {
  return state.stage == Stage::kStepping || state.stage == Stage::kCanaryFull;
}

// A subset whose filter is not the rollout's holds other instances than the ones to be judged.
bool HoldsItsVersion(const State& state, const Observation& seen) {
  return !state.wanted.canary_filter || seen.canary_filter == state.wanted.canary_filter;
}

bool IsGrossFailure(const Observation& seen, const State& state) {
  // Its weight is 0: what still fails is the version before it.
  if (state.stage == Stage::kPreparing) return false;
  const auto mostly_fails = [](const stats::Counts& canary) {
    return canary.completed >= kGrossRequests && 2 * canary.failures > canary.completed;
  };
  const bool in_tick = mostly_fails(seen.counts.harm_canary);
  if (!in_tick && !mostly_fails(state.evidence.stage_canary)) return false;
  // While promoting the primary gets no requests: what it did before stands for it.
  const stats::Counts& now = in_tick ? seen.counts.harm_primary : state.evidence.stage_primary;
  const stats::Counts& primary = now.completed > 0 ? now : state.evidence.harm.primary;
  return primary.completed > 0 && kGrossPrimaryDivisor * primary.failures < primary.completed;
}

}  // namespace

std::string_view ToString(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kNoData:
      return "no-data";
    case VerdictKind::kWarmup:
      return "warm-up";
    case VerdictKind::kUndecided:
      return "undecided";
    case VerdictKind::kSafe:
      return "safe";
    case VerdictKind::kHarm:
      return "harm";
  }
  return "unknown";
}

Verdict VerdictOf(const Spec& spec, const State& state) {
  Verdict verdict;
  verdict.log_harm = stats::LogHarm(state.evidence.harm);
  verdict.log_safe = stats::LogSafe(state.evidence.safe);
  verdict.harm_bound = -std::log(spec.false_rollback);
  verdict.safe_bound = -std::log(spec.false_advance);
  if (verdict.log_harm >= verdict.harm_bound) {
    verdict.kind = VerdictKind::kHarm;
  } else if (state.stage != Stage::kStepping || !state.confirmed || !IsWarm(spec, state)) {
    verdict.kind = state.stage == Stage::kStepping ? VerdictKind::kWarmup : VerdictKind::kNoData;
  } else if (verdict.log_safe >= verdict.safe_bound) {
    verdict.kind = VerdictKind::kSafe;
  } else {
    verdict.kind =
        state.evidence.step_canary.completed > 0 ? VerdictKind::kUndecided : VerdictKind::kNoData;
  }
  return verdict;
}

Verdict Judge(const Spec& spec, const Observation& seen, State& state) {
  if (!seen.counts_known || !IsActive(state.phase)) return VerdictOf(spec, state);
  Evidence& evidence = state.evidence;
  const TickCounts& tick = seen.counts;
  if (seen.doubtful) {
    Add(evidence.rollout_primary, tick.harm_primary);
    Add(evidence.rollout_canary, tick.harm_canary);
    return VerdictOf(spec, state);
  }
  Add(evidence.stage_primary, tick.harm_primary);
  Add(evidence.stage_canary, tick.harm_canary);
  const bool gross = IsGrossFailure(seen, state);
  const bool judged = HasBothArms(state) && IsWarm(spec, state) && HoldsItsVersion(state, seen);
  if (judged) {
    const stats::HarmPlan plan{PlannedEpochs(spec)};
    stats::ObserveHarm(evidence.harm, plan, tick.harm_primary, tick.harm_canary,
                       spec.overdispersion_floor,
                       std::max(seen.elapsed_seconds, kShortestTickSeconds));
    Add(evidence.step_primary, tick.harm_primary);
    Add(evidence.step_canary, tick.harm_canary);
  } else {
    Add(evidence.harm.primary, tick.harm_primary);
  }
  // Only what was seen at the step's own weight proves the step.
  if (judged && state.stage == Stage::kStepping && state.confirmed) {
    stats::ObserveSafe(evidence.safe, spec.failure_margin, tick.safe_primary, tick.safe_canary,
                       spec.overdispersion_floor);
  } else {
    Add(evidence.safe.primary, tick.safe_primary);
  }
  Add(evidence.rollout_primary, tick.harm_primary);
  Add(evidence.rollout_canary, tick.harm_canary);
  Verdict verdict = VerdictOf(spec, state);
  verdict.gross_failure = gross;
  return verdict;
}

}  // namespace consul_canary::rollout
