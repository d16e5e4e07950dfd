#include "analyzer/rollout/evidence.h"

#include <algorithm>
#include <cmath>

#include "analyzer/rollout/callers.h"
#include "analyzer/rollout/judge.h"
#include "analyzer/stats/reference.h"
#include "analyzer/stats/restarts.h"

namespace consul_canary::rollout {
namespace {

// Two recorded ticks may carry the same time; evidence needs some time between them.
constexpr double kShortestTickSeconds = 0.001;
// What hangs takes longer than any stall of a scheduler or of a collector of garbage.
constexpr double kLeastLateSeconds = 2.0;
constexpr double kPercent = 100;
// Envoy adds to its histograms every five seconds by default, and then for all that came before.
constexpr double kFlushSeconds = 5.0;
// Longer requests are not waited for before a step is proven.
constexpr double kLongestWaitSeconds = 60.0;
constexpr double kRateForgottenSeconds = 10.0;
// No two instances are equally fast to a tenth of a millisecond, and enough requests prove it. Harm
// is a share of slow requests that nobody would overlook.
constexpr stats::Margin kLatencyTolerance{1.25, 0.02};
// What is well within the tolerance is soon strong evidence, behind which a late fault would hide
// until the next epoch. So they are short for latency, and for the failures of the watch, which are
// held against a margin.
constexpr std::int64_t kLatencyEpochs = 6;  // to each epoch of the failures
constexpr double kLimitChance = 0.01;       // of alpha

// While all traffic goes to the canary, a caller that lags behind still tells; and in the watch the
// primary of before.
bool CanBeCompared(const State& state) {
  return state.stage == Stage::kStepping || state.stage == Stage::kCanaryFull ||
         state.stage == Stage::kWatching;
}

// Whatever the canary does, it can be held against nothing.
bool IsPrimaryGone(const State& state, const Observation& seen) {
  return state.stage == Stage::kStepping && seen.instances_known && seen.primary_passing == 0;
}

stats::Counts Slower(const stats::LatencyCounts& counts, double edge_seconds) {
  return stats::SlowerThan(counts, edge_seconds).value_or(stats::Counts{});
}

// The bounds that err on the safe side where the histogram has no edge just there: the canary's
// slow requests above the next lower one, the primary's above the next higher one.
struct SafeSlower {
  stats::Counts primary, canary;
};

// failed_over: of the canary's requests, as many were the primary's, and may have hidden slow ones.
SafeSlower SlowerForSafety(const TickCounts& tick, double edge_seconds, std::int64_t failed_over) {
  SafeSlower slower;
  const auto below = stats::EdgeAtOrBelow(tick.canary.latency, edge_seconds);
  const auto above = stats::EdgeAtOrAbove(tick.primary.latency, edge_seconds);
  // Without such an edge each request of the canary may have been slow, and none of the primary's.
  slower.canary = {tick.canary.latency.timed, tick.canary.latency.timed};
  if (below) slower.canary = Slower(tick.canary.latency, *below);
  slower.primary = {tick.primary.latency.timed, 0};
  if (above) slower.primary = Slower(tick.primary.latency, *above);
  slower.canary.failures = std::min(slower.canary.completed, slower.canary.failures + failed_over);
  return slower;
}

// Which metrics enter is settled before the first tick is judged, by what is known of the primary.
void FixMetrics(Evidence& evidence) {
  if (evidence.metrics_fixed) return;
  evidence.metrics_fixed = true;
  for (const double edge : stats::EdgesToWatch(evidence.primary_latency)) {
    evidence.latency.push_back(
        {.edge_seconds = edge, .harm = stats::StartHarm(Slower(evidence.primary_latency, edge))});
  }
  if (const auto late = stats::LateAfter(evidence.primary_latency)) {
    evidence.late_after_seconds = std::max(*late, kLeastLateSeconds);
  }
}

// An objective that the specification has got in the middle of a rollout begins its own process.
void FollowObjectives(const Spec& spec, Evidence& evidence) {
  evidence.objectives.resize(spec.latency.size());
  for (std::size_t i = 0; i < spec.latency.size(); ++i) {
    const double edge = spec.latency[i].edge.count();
    if (evidence.objectives[i].edge_seconds == edge) continue;
    const auto above = stats::EdgeAtOrAbove(evidence.primary_latency, edge);
    const stats::Counts history =
        above ? Slower(evidence.primary_latency, *above) : stats::Counts{};
    evidence.objectives[i] = {edge, stats::StartSafe(history)};
  }
}

double DispersionOf(const Evidence& evidence, const stats::DispersionState& learned) {
  return stats::Overdispersion(learned, evidence.overdispersion_floor);
}

double WorstLatencyDispersion(const Evidence& evidence) {
  double worst = evidence.overdispersion_floor;
  for (const EdgeEvidence& edge : evidence.latency) {
    worst = std::max(worst, DispersionOf(evidence, edge.dispersion));
  }
  return worst;
}

// Requests of one instance that a single stall makes slow or late together.
double StallSize(const Spec& spec, const Observation& seen, const Evidence& evidence) {
  return spec.stall.count() * evidence.canary_rate / std::max(1, seen.canary_passing);
}

// limit: 0 where the primary has requests to compare with.
void ObserveHarmOf(stats::HarmState& harm, const stats::HarmPlan& plan, double limit,
                   const stats::Counts& primary, const stats::Counts& canary, double dispersion,
                   double seconds) {
  if (limit > 0) {
    stats::ObserveHarmBeyond(harm, plan, limit, primary, canary, dispersion, seconds);
  } else {
    stats::ObserveHarm(harm, plan, primary, canary, dispersion, seconds);
  }
}

stats::EjectionTick EjectedTick(const ShieldView& shield, double share,
                                const stats::Counts& primary, const stats::Counts& canary) {
  return {.primary = primary,
          .canary = canary,
          .weight_ratio = share,
          .active_instances = std::max(1, shield.ejecting),
          .retried = shield.retried,
          .failures_in_a_row = shield.failures_in_a_row};
}

// In the watch the canary alone is held against a fixed rate, which is fair wherever its requests
// stop.
void AddFailures(const Observation& seen, const stats::HarmPlan& plan, double share,
                 const TickCounts& tick, Evidence& evidence, double seconds) {
  const double dispersion = DispersionOf(evidence, evidence.dispersion);
  const bool watched = evidence.failure_limit > 0;
  if (!seen.shield || watched) {
    ObserveHarmOf(evidence.harm, plan, evidence.failure_limit, tick.primary.high, tick.canary.low,
                  dispersion, seconds);
    evidence.ejected_harm.primary += tick.primary.high;
    return;
  }
  stats::ObserveEjectedHarm(evidence.ejected_harm, plan,
                            EjectedTick(*seen.shield, share, tick.primary.high, tick.canary.low),
                            dispersion, seconds);
  evidence.harm.primary += tick.primary.high;
}

void AddHarm(const Spec& spec, const Observation& seen, double share, const TickCounts& tick,
             Evidence& evidence, double seconds) {
  const bool watched = evidence.failure_limit > 0;
  const stats::HarmPlan plan{.planned_epochs = PlannedEpochs(spec),
                             .tolerance = spec.rollback_margin,
                             .epoch_seconds = watched ? kWatchEpochSeconds : stats::kEpochSeconds};
  AddFailures(seen, plan, share, tick, evidence, seconds);
  const double stall = std::max(1.0, StallSize(spec, seen, evidence));
  const stats::HarmPlan slower{.planned_epochs = plan.planned_epochs * kLatencyEpochs,
                               .tolerance = kLatencyTolerance,
                               .epoch_seconds = stats::kEpochSeconds / kLatencyEpochs};
  for (EdgeEvidence& edge : evidence.latency) {
    const double dispersion = std::max(stall, DispersionOf(evidence, edge.dispersion));
    ObserveHarmOf(edge.harm, slower, edge.limit, Slower(tick.primary.latency, edge.edge_seconds),
                  Slower(tick.canary.latency, edge.edge_seconds), dispersion, seconds);
  }
  if (evidence.late_after_seconds > 0) {
    stats::ObserveLate(evidence.late, plan.planned_epochs, tick.canary.late,
                       std::max(stall, evidence.overdispersion_floor), seconds);
  }
}

// A tick that proves nothing still teaches what the primary does.
void TeachHarm(const TickCounts& tick, Evidence& evidence) {
  evidence.harm.primary += tick.primary.high;
  evidence.ejected_harm.primary += tick.primary.high;
  for (EdgeEvidence& edge : evidence.latency) {
    edge.harm.primary += Slower(tick.primary.latency, edge.edge_seconds);
  }
}

void TeachSafe(const TickCounts& tick, Evidence& evidence) {
  evidence.safe.primary += tick.primary.low;
  evidence.ejected_safe.primary += tick.primary.low;
  for (ObjectiveEvidence& objective : evidence.objectives) {
    objective.safe.primary += SlowerForSafety(tick, objective.edge_seconds, 0).primary;
  }
}

void AddSafe(const Spec& spec, const Observation& seen, double share, const TickCounts& tick,
             Evidence& evidence) {
  // A request that hangs is none that went well.
  stats::Counts canary = tick.canary.high;
  canary.completed += tick.canary.late.late;
  canary.failures += tick.canary.late.late;
  const double clumps = DispersionOf(evidence, evidence.dispersion);
  if (seen.shield) {
    stats::ObserveEjectedSafe(evidence.ejected_safe, spec.failure_margin,
                              EjectedTick(*seen.shield, share, tick.primary.low, canary), clumps);
    evidence.safe.primary += tick.primary.low;
  } else {
    stats::ObserveSafe(evidence.safe, spec.failure_margin, tick.primary.low, canary, clumps);
    evidence.ejected_safe.primary += tick.primary.low;
  }
  const double dispersion = WorstLatencyDispersion(evidence);
  for (std::size_t i = 0; i < spec.latency.size(); ++i) {
    const SafeSlower slower =
        SlowerForSafety(tick, spec.latency[i].edge.count(), evidence.failed_over);
    stats::ObserveSafe(evidence.objectives[i].safe, spec.latency[i].margin, slower.primary,
                       slower.canary, dispersion);
  }
}

// Of the requests of both subsets, 0..1.
double CanaryShare(const State& state, const Observation& seen) {
  const double weight = seen.routed_percent.value_or(state.wanted.canary_percent);
  const double both = kPercent - (seen.splitter ? seen.splitter->other_percent : 0);
  return both > 0 ? std::min(1.0, weight / both) : 0;
}

// What the process behind a shield is told of the canary's share, known before the tick: any value
// is fair. Where requests match, their share is no matter of the weight.
double ToldShare(const Spec& spec, const Observation& seen, const State& state) {
  constexpr double kLeast = 0.001;
  const Evidence& evidence = state.evidence;
  const std::int64_t canary = evidence.rollout_canary.completed;
  const std::int64_t all = evidence.rollout_primary.completed + canary;
  if (spec.match.empty() || all == 0) return CanaryShare(state, seen);
  return std::clamp(static_cast<double>(canary) / static_cast<double>(all), kLeast, 1 - kLeast);
}

// Only what came after every caller had applied the weight says anything about the share.
void AddShare(const Spec& spec, const Observation& seen, State& state, double seconds) {
  Evidence& evidence = state.evidence;
  const bool applied = state.confirmed && !state.foreign_edit && seen.splitter &&
                       WeightStragglers(state, seen).empty();
  // Who matches chooses the canary itself, so its share is no matter of the weight alone; nor is it
  // where what the canary fails goes to the primary.
  if (applied && evidence.share_applied && spec.match.empty() && !seen.shield) {
    const std::int64_t canary = seen.counts.canary.low.completed;
    stats::ObserveShare(evidence.share, CanaryShare(state, seen),
                        seen.counts.primary.low.completed + canary, canary, seconds);
  }
  if (!applied || seen.shield) evidence.share = {};
  evidence.share_applied = applied;
}

// Where the canary's failures choose how many requests it gets, no interval is fair.
void AddIntervals(const TickCounts& tick, Evidence& evidence) {
  const double dispersion = DispersionOf(evidence, evidence.dispersion);
  stats::ObserveRatio(evidence.ratio, tick.primary.high, tick.canary.low, dispersion);
  stats::ObserveDifference(evidence.difference, tick.primary.high, tick.canary.low, dispersion);
}

// Of the primary's requests that were completed, as many as the weight makes the canary's. More
// where they are all the canary's.
double DueRequests(const State& state, const Observation& seen) {
  const double share = CanaryShare(state, seen);
  if (share >= 1) return 0;
  return static_cast<double>(seen.counts.primary.low.completed) * share / (1 - share);
}

void AddSilence(const TickCounts& tick, double due, Evidence& evidence) {
  evidence.silent_requests = tick.canary.low.completed > 0 ? 0 : evidence.silent_requests + due;
  const double each = std::max(due, static_cast<double>(tick.canary.low.completed)) /
                      static_cast<double>(tick.canary_instances.size());
  std::map<std::string, double> silent;
  for (const auto& [id, counts] : tick.canary_instances) {
    if (counts.completed == 0) silent[id] = evidence.silent_instances[id] + each;
  }
  evidence.silent_instances = std::move(silent);
}

void AddRate(const Observation& seen, State& state, double seconds) {
  Evidence& evidence = state.evidence;
  const auto completed = static_cast<double>(seen.counts.canary.low.completed);
  const double due = DueRequests(state, seen);
  // Averaged, since while both hang neither completes anything, and yet much is under way.
  const double kept = std::exp(-seconds / kRateForgottenSeconds);
  const double rate = std::max(completed, due) / seconds;
  evidence.ejected_share =
      kept * evidence.ejected_share + (1 - kept) * (seen.shield ? seen.shield->ejected : 0);
  evidence.canary_rate = kept * evidence.canary_rate + (1 - kept) * rate;
  AddSilence(seen.counts, due, evidence);
}

// Afterwards: what tempers a tick is known before it.
void LearnDispersion(const TickCounts& tick, Evidence& evidence, double seconds) {
  stats::ObserveDispersion(evidence.dispersion, tick.primary_instances, seconds);
  for (EdgeEvidence& edge : evidence.latency) {
    stats::InstanceCounts instances;
    instances.reserve(tick.primary_instance_latency.size());
    for (const auto& [id, latency] : tick.primary_instance_latency) {
      if (latency.timed > 0) instances.emplace_back(id, Slower(latency, edge.edge_seconds));
    }
    stats::ObserveDispersion(edge.dispersion, instances, seconds);
  }
}

double SecondsAtWeight(const State& state) {
  return state.confirmed ? state.confirmed_seconds : state.stage_seconds;
}

// Whether the histograms tell of nothing but what was judged: their first flush after the warm-up
// still tells of it.
bool IsLatencyWarm(const Spec& spec, const State& state) {
  return SecondsAtWeight(state) >= spec.warmup.count() + kFlushSeconds;
}

TickCounts WithoutLatency(TickCounts tick) {
  tick.primary.latency = {};
  tick.canary.latency = {};
  return tick;
}

// Of the requests that began at the step's weight the quick ones end first, and those that time out
// last. Before each has had its time, too few failures are seen.
bool HasSettled(const Observation& seen, const State& state) {
  return state.confirmed_seconds >= SettlingSeconds(seen);
}

}  // namespace

double SettlingSeconds(const Observation& seen) {
  return std::min(seen.request_timeout_seconds, kLongestWaitSeconds);
}

Evidence StartEvidence(const Evidence& before, const Observation& seen) {
  Evidence evidence;
  evidence.dispersion = before.dispersion;
  evidence.dispersion.open = {};  // a recording begins with the rollout
  evidence.harm = stats::StartHarm(seen.primary_history);
  evidence.safe = stats::StartSafe(seen.primary_history);
  evidence.ejected_harm = stats::StartEjectedHarm(seen.primary_history);
  evidence.ejected_safe = stats::StartEjectedSafe(seen.primary_history);
  evidence.difference = stats::StartDifference(seen.primary_history);
  evidence.primary_latency = seen.primary_latency_history;
  return evidence;
}

void BeginStepEvidence(const Spec& spec, Evidence& evidence) {
  evidence.step_primary = {};
  evidence.step_canary = {};
  BeginThresholdStep(evidence.thresholds);
  if (spec.proof == Proof::kOnce) return;
  evidence.safe = stats::StartSafe(evidence.safe.primary);
  evidence.ejected_safe = stats::StartEjectedSafe(evidence.ejected_safe.primary);
  for (ObjectiveEvidence& objective : evidence.objectives) {
    objective.safe = stats::StartSafe(objective.safe.primary);
  }
}

void BeginWatchEvidence(const Spec& spec, Evidence& evidence) {
  FixMetrics(evidence);
  BeginThresholdStep(evidence.thresholds);
  evidence.step_primary = evidence.step_canary = {};
  // Of each metric: that its limit is too low by chance.
  const double chance =
      kLimitChance * spec.false_rollback / static_cast<double>(1 + evidence.latency.size());
  const double failures = stats::UpperRate(evidence.rollout_primary,
                                           DispersionOf(evidence, evidence.dispersion), chance);
  // What was no obstacle to the promotion is no reason to take it back.
  evidence.failure_limit = std::max(stats::CanaryLimit(spec.failure_margin, failures),
                                    stats::CanaryLimit(spec.rollback_margin, failures));
  for (EdgeEvidence& edge : evidence.latency) {
    const double slower = stats::UpperRate(Slower(evidence.primary_latency, edge.edge_seconds),
                                           DispersionOf(evidence, edge.dispersion), chance);
    edge.limit = stats::CanaryLimit(kLatencyTolerance, slower);
  }
}

void LearnBetweenRollouts(const Observation& seen, Evidence& evidence) {
  if (seen.doubtful || seen.elapsed_seconds <= 0) return;
  stats::ObserveDispersion(evidence.dispersion, seen.counts.primary_instances,
                           seen.elapsed_seconds);
}

void BeginStageEvidence(Evidence& evidence) {
  evidence.stage_primary = {};
  evidence.stage_canary = {};
  evidence.share = {};
  evidence.share_applied = false;
  evidence.silent_requests = 0;
  evidence.silent_instances.clear();
  evidence.ejected_share = 0;
}

// Not judged is the warm-up after each increase: from the decision on, and again from the moment on
// when Consul is seen to hold the weight. A write that keeps failing is no reason to look away.
bool IsWarm(const Spec& spec, const State& state) {
  return SecondsAtWeight(state) >= spec.warmup.count();
}

bool CanaryIsTheRollouts(const Spec& spec, const Observation& seen, const State& state) {
  // A subset whose filter is not the rollout's holds other instances than the ones to be judged.
  const auto& filter = state.wanted.canary_filter;
  if (filter && seen.canary_filter != filter) return false;
  if (spec.act && WritesFilters(spec)) return true;
  return seen.canary_versions == std::vector<std::string>{state.canary_version};
}

bool IsJudged(const Spec& spec, const Observation& seen, const State& state) {
  return CanBeCompared(state) && IsWarm(spec, state) && CanaryIsTheRollouts(spec, seen, state);
}

void AddEvidence(const Spec& spec, const Observation& seen, State& state) {
  Evidence& evidence = state.evidence;
  const TickCounts& tick = seen.counts;
  const double share = ToldShare(spec, seen, state);
  evidence.rollout_primary += tick.primary.high;
  evidence.rollout_canary += tick.canary.low;
  evidence.rollout_late += tick.canary.late.late;
  evidence.shielded = seen.shield.has_value();
  evidence.failed_for_callers += tick.failed_for_callers;
  evidence.saved_requests += tick.saved_requests;
  evidence.failed_over += tick.failed_over;
  // A primary without instances teaches nothing either.
  if (seen.doubtful || IsPrimaryGone(state, seen)) return;
  evidence.overdispersion_floor =
      std::max({1.0, spec.overdispersion_floor, seen.attempts_together});
  const double seconds = std::max(seen.elapsed_seconds, kShortestTickSeconds);
  evidence.stage_primary += tick.primary.high;
  evidence.stage_canary += tick.canary.low;
  const bool judged = IsJudged(spec, seen, state);
  TickCounts cold;
  if (!IsLatencyWarm(spec, state)) cold = WithoutLatency(tick);
  const TickCounts& counted = IsLatencyWarm(spec, state) ? tick : cold;
  if (judged) {
    FixMetrics(evidence);
    FollowObjectives(spec, evidence);
    AddHarm(spec, seen, share, counted, evidence, seconds);
    if (!seen.shield) AddIntervals(tick, evidence);
    evidence.canary_latency += counted.canary.latency;
    ObserveThresholds(spec, counted, seconds, evidence.thresholds);
    evidence.step_primary += tick.primary.high;
    evidence.step_canary += tick.canary.low;
  }
  // Only what was seen at the step's own weight proves the step.
  const bool proves =
      judged && state.stage == Stage::kStepping && state.confirmed && HasSettled(seen, state);
  if (!judged) TeachHarm(tick, evidence);
  if (proves) {
    AddSafe(spec, seen, share, counted, evidence);
  } else {
    TeachSafe(tick, evidence);
  }
  evidence.failed_over -= std::min(evidence.failed_over, tick.canary.latency.timed);
  // How the traffic is split is no matter of how warm the canary is.
  if (state.stage == Stage::kStepping) AddShare(spec, seen, state, seconds);
  evidence.primary_latency += tick.primary.latency;
  LearnDispersion(tick, evidence, seconds);
  AddRate(seen, state, seconds);
}

}  // namespace consul_canary::rollout
