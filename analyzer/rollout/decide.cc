#include "analyzer/rollout/decide.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

bool HasSequentialHarm(const Transition& t) {
  return t.spec.judge != JudgeMode::kThresholds && t.verdict.log_harm >= t.verdict.harm_bound;
}

std::string_view HarmCause(const Transition& t) {
  const bool by_threshold = t.verdict.kind == VerdictKind::kHarm && !HasSequentialHarm(t);
  return by_threshold ? "threshold" : "harm";
}

std::string HarmReason(const Transition& t) {
  if (t.verdict.kind == VerdictKind::kHarm) {
    return HasSequentialHarm(t) ? WhyHarm(t) : t.verdict.threshold_harm;
  }
  const stats::Counts& canary = t.seen.counts.canary.low;
  return fmt::format("{} of the canary's {} requests failed at once, and the primary's did not",
                     canary.failures, canary.completed);
}

// All traffic is at the canary, and the old version is not there any more.
bool IsStranded(const Transition& t) {
  const bool is_full = t.state.stage == Stage::kCanaryFull || t.state.stage == Stage::kWatching;
  return is_full && t.seen.instances_known && t.seen.primary_passing == 0;
}

// A subset without instances answers nothing at all, which is worse than any canary.
void SayThatItIsStranded(Transition& t) {
  if (t.state.stranded) return;
  t.state.stranded = true;
  t.Log(t.state.phase, "hold", HarmCause(t),
        fmt::format("{}; all traffic stays where it is, since subset {} has no passing instance to "
                    "go back to: deploy version {} again, or `abort` to go back all the same",
                    HarmReason(t), t.spec.primary_subset, t.state.primary_version));
}

// Harm, and what counts as harm, ends a rollout at once: no second failed check, no wait.
void CheckHarm(Transition& t) {
  const State& state = t.state;
  if (!IsActive(state.phase) || state.phase == Phase::kRollingBack) return;
  if (IsHarmful(t.verdict)) {
    return IsStranded(t) ? SayThatItIsStranded(t) : RollBack(t, HarmCause(t), HarmReason(t));
  }
  const bool has_traffic = state.stage != Stage::kPreparing && state.stage != Stage::kNone;
  // Once the primary subset has taken the canary's version, the way back is the old version.
  const bool has_way_back = t.seen.primary_passing > 0 || state.old_primary_filter.has_value();
  if (has_traffic && t.seen.instances_known && t.seen.canary_passing == 0 && has_way_back) {
    RollBack(t, "canary-gone", "the canary subset has no passing instance left in Consul");
  }
}

// Before the splitter is looked at: what has elapsed lies before a confirmation that this look
// brings. Deadlines do not run during a pause, which a person has asked for.
void AddTime(Transition& t) {
  State& state = t.state;
  // A look between ticks rules no time: what lies before the first tick after a restart stays
  // unruled.
  if (t.seen.elapsed_seconds > 0) state.saved_wall_seconds = t.seen.wall_seconds;
  if (state.phase != Phase::kPaused && t.seen.fleet_pause.empty()) {
    state.stage_seconds += t.seen.elapsed_seconds + t.seen.unruled_seconds;
  }
  if (state.confirmed) state.confirmed_seconds += t.seen.elapsed_seconds;
}

void TakeReports(Transition& t) {
  FollowFormerPrimaries(t);
  if (!t.seen.maintenance || !t.state.maintenance_due) return;
  t.state.maintenance_due = false;
  const std::string before = t.state.reason;
  t.Log(t.state.phase, "maintenance", "rolled-back", *t.seen.maintenance);
  t.state.reason = before;
}

}  // namespace

void Transition::Log(Phase from, std::string_view action, std::string_view cause,
                     const std::string& reason) {
  state.reason = reason;
  decisions.push_back({.sequence = ++state.decisions,
                       .wall_seconds = seen.wall_seconds,
                       .action = std::string(action),
                       .cause = std::string(cause),
                       .from = from,
                       .to = state.phase,
                       .step = state.step,
                       .weight_percent = state.wanted.canary_percent,
                       .canary_version = state.canary_version,
                       .reason = reason,
                       .order = order});
}

const Spec& RulingSpec(const Spec& spec, const State& state) {
  return IsRespecified(spec, state) && !IsGentle(spec, state) ? *state.spec : spec;
}

Outcome Decide(const Spec& spec, State state, const Observation& seen) {
  // Releases before this one did not store by which specification they ruled.
  if (IsActive(state.phase) && !state.spec) state.spec = spec;
  const bool differs = IsRespecified(spec, state);
  const bool takes_over = differs && IsGentle(spec, state);
  const bool respecified = differs && !takes_over;
  const std::optional<Spec> former = respecified ? state.spec : std::nullopt;
  const Spec& ruling = former ? *former : spec;
  // A stored state may come from elsewhere; the last step counts then.
  state.step = std::min(state.step, static_cast<int>(ruling.steps.size()) - 1);
  const Verdict verdict = Judge(ruling, seen, state);
  Transition t{ruling, seen, verdict, std::move(state), {}, {}};
  AddTime(t);
  TakeReports(t);
  if (takes_over) TakeOver(t);
  ObserveSplitter(t);
  ObserveRoutes(t);
  ObserveOwner(t);
  ForgetMovedCallers(t.state, t.seen);
  CheckHarm(t);
  TakeOrders(t);
  if (seen.spec_deleted) EndUnspecified(t);
  MovePhase(t);
  if (respecified) Respecify(t, spec);
  return {std::move(t.state), t.verdict, std::move(t.waits), std::move(t.decisions)};
}

namespace {

// What was decided on facts that are not known any more (a restart, an outage) waits for them.
bool MayWiden(const Observation& seen) {
  return seen.unknown.empty() && seen.instances_known && seen.canary_passing > 0;
}

bool IsSplitterDue(const State& state, const Observation& seen, std::uint64_t epoch) {
  const SplitterView& splitter = *seen.splitter;
  const double primary = 100 - splitter.other_percent - state.wanted.canary_percent;
  const bool weights_differ = !SamePercent(splitter.canary_percent, state.wanted.canary_percent) ||
                              !SamePercent(splitter.primary_percent, primary);
  const bool widens = state.wanted.canary_percent > splitter.canary_percent;
  return (weights_differ || splitter.epoch != epoch) && (!widens || MayWiden(seen));
}

// A router is made without routes and filled later, so that each write that moves traffic has an
// index to be held against: no deposed leader's can reach a router that is made anew.
bool AreRoutesDue(const State& state, const Observation& seen, std::uint64_t epoch) {
  const Routes wanted = state.wanted.routes;
  const bool rolls_back = state.phase == Phase::kRollingBack;
  if (state.foreign_routes && !rolls_back) return false;
  if (!seen.router) return wanted != Routes::kNone && seen.entries_known;
  const bool widens = wanted == Routes::kPlaced && RoutesMove(seen, wanted);
  return (!RoutesStand(seen, wanted) || !IsRouterFenced(state, seen, epoch)) &&
         (!widens || MayWiden(seen));
}

}  // namespace

std::vector<Write> DueWrites(const State& state, const Observation& seen, std::uint64_t epoch) {
  std::vector<Write> due;
  if (!IsActive(state.phase) || (state.spec && !state.spec->act)) return due;
  // A filter goes back even where somebody has deleted the splitter.
  const bool rolls_back = state.phase == Phase::kRollingBack;
  if (!rolls_back && (!seen.splitter || state.foreign_edit)) return due;
  if (seen.splitter && IsSplitterDue(state, seen, epoch)) due.push_back(Write::kSplitter);
  if (AreRoutesDue(state, seen, epoch)) due.push_back(Write::kRoutes);
  const Wanted& wanted = state.wanted;
  // The resolver carries the epoch as well, once the rollout has begun to move its filters.
  const auto differs = [](const auto& wants, const auto& is) { return wants && is && wants != is; };
  const bool primary_due = differs(wanted.primary_filter, seen.primary_filter);
  const bool fence_due =
      wanted.canary_filter && seen.canary_filter && seen.resolver_epoch != epoch && !primary_due;
  if (differs(wanted.canary_filter, seen.canary_filter) || fence_due) {
    due.push_back(Write::kCanaryFilter);
  }
  if (primary_due) due.push_back(Write::kPrimaryFilter);
  return due;
}

}  // namespace consul_canary::rollout
