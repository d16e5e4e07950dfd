// The moves between phases and stages.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analyzer/rollout/evidence.h"
#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

// Where the splitter was deleted meanwhile there is nothing to take back.
bool AllTrafficIsBack(const Transition& t) {
  const auto filter_back = [](const std::optional<std::string>& wanted,
                              const std::optional<std::string>& is) {
    return !wanted || !is || wanted == is;
  };
  // Entries that cannot carry a rollout are known all the same.
  const bool known = t.seen.unknown.empty() || t.seen.entries_known;
  const bool weight_back = t.seen.splitter ? t.state.confirmed : t.seen.entries_known;
  return known && weight_back && t.seen.fenced && RoutesStand(t.seen, t.state.wanted.routes) &&
         filter_back(t.state.wanted.primary_filter, t.seen.primary_filter);
}

// --- one function for each place a rollout can be in
// -----------------------------------------------------

void Waiting(Transition& t) {
  const std::string obstacle = StartObstacle(t);
  const std::string version = Candidate(t, false);
  if (!obstacle.empty()) {
    t.waits = "cannot start: " + obstacle;
  } else if (t.spec.start == StartMode::kManual) {
    t.waits = "waits for an order to start";
  } else if (version.empty()) {
    t.waits = "waits for instances of a new version";
  } else {
    return Begin(t, version, "new-version", "");
  }
  // What the last rollout came to stays its reason.
  if (t.state.phase == Phase::kIdle) t.state.reason = t.waits;
}

void CheckReadyDeadline(Transition& t, const std::string& missing) {
  t.state.reason = "waits for the canary: " + missing;
  // A deadline is no reason to write over weights of someone else's.
  if (t.state.stage_seconds <= t.spec.ready_deadline.count() || t.state.foreign_edit) return;
  if (t.state.unwritable) return;
  RollBack(t, "ready-deadline",
           fmt::format("the canary was not ready within {:g} s: {}", t.spec.ready_deadline.count(),
                       missing));
}

void Preparing(Transition& t) {
  State& state = t.state;
  if (state.phase == Phase::kPaused) return;
  if (std::string obstacle = Obstacle(t); !obstacle.empty()) {
    return CheckReadyDeadline(t, obstacle);
  }
  if (std::string trouble = RoutesTrouble(t); !trouble.empty()) {
    return CheckReadyDeadline(t, trouble);
  }
  if (!state.confirmed) return CheckReadyDeadline(t, "the splitter is not at 0% yet");
  if (state.wanted.routes == Routes::kAwaited && !t.seen.router) {
    return CheckReadyDeadline(t, "no service-router that can take the routes is written yet");
  }
  if (std::string late = WeightStragglers(t.state, t.seen); !late.empty())
    return CheckReadyDeadline(t, late);
  if (WritesFilters(t.spec)) {
    const std::string filter = FilterForVersion(t.spec, state.canary_version);
    if (state.wanted.canary_filter != filter) {
      state.wanted.canary_filter = filter;
      AwaitMembership(t, Subset::kCanary, t.seen.canary_filter != filter);
    }
    if (t.seen.canary_filter != filter) {
      return CheckReadyDeadline(t, "the resolver's canary filter is not written yet");
    }
  }
  if (t.seen.canary_passing == 0) {
    return CheckReadyDeadline(t, "no passing instance of version " + state.canary_version);
  }
  if (std::string late = MembershipStragglers(t.state, t.seen, Subset::kCanary); !late.empty()) {
    return CheckReadyDeadline(t, "its instances are not routable yet from " + late);
  }
  if (const std::string trouble = CanaryTrouble(t); !trouble.empty()) {
    return CheckReadyDeadline(t, trouble);
  }
  const std::string ready =
      fmt::format("{} instance(s) of version {} are routable from {} caller(s)",
                  t.seen.canary_passing, state.canary_version, t.seen.callers.size());
  if (state.revert) {
    return BeginPromotion(
        t, "revert",
        fmt::format("{}; the version was the primary less than {:g} s ago, so it takes no steps",
                    ready, t.spec.rollback_window.count()));
  }
  EnterStep(t, 0);
  t.Log(state.phase, "advance", "ready", ready);
}

void Stepping(Transition& t) {
  State& state = t.state;
  if (state.phase == Phase::kPaused) return;
  if (std::string obstacle = StepObstacle(t); !obstacle.empty()) {
    state.reason = obstacle;
    return CheckDeadline(t);
  }
  if (t.spec.steps[static_cast<std::size_t>(state.step)].pause) {
    state.phase = Phase::kPaused;
    state.proven_wait = true;
    return t.Log(Phase::kProgressing, "pause", "step",
                 "the step waits for `promote`: " + WhySafe(t));
  }
  AdvanceStep(t, "proven", WhySafe(t));
}

void RollingBack(Transition& t) {
  t.waits = WayBackByHand(t);
  if (!AllTrafficIsBack(t)) return;
  t.waits.clear();
  std::string reason = t.state.reason;
  if (!t.seen.splitter) reason += "; the splitter was deleted meanwhile: nothing to take back";
  t.state.phase = Phase::kRolledBack;
  // A version that goes back for no fault of its own is to be rolled out again.
  const auto& blamed = t.state.rolled_back_versions;
  t.state.maintenance_due =
      t.spec.maintenance_on_rollback &&
      std::find(blamed.begin(), blamed.end(), t.state.canary_version) != blamed.end();
  t.Log(Phase::kRollingBack, "rolled-back", "traffic-back", reason);
}

}  // namespace

std::string StepObstacle(const Transition& t) {
  if (std::string obstacle = TrafficObstacle(t); !obstacle.empty()) return "holds: " + obstacle;
  if (std::string trouble = RoutesTrouble(t); !trouble.empty()) return trouble;
  if (!t.state.confirmed) return "the splitter does not hold the step's weight yet";
  if (std::string late = WeightStragglers(t.state, t.seen); !late.empty()) return "holds: " + late;
  const Step& step = t.spec.steps[static_cast<std::size_t>(t.state.step)];
  if (t.seen.primary_passing == 0) {
    return "holds: the primary subset has no passing instance to compare the canary with";
  }
  if (t.verdict.kind == VerdictKind::kWarmup) return "warm-up";
  if (std::string ejected = ShieldTrouble(t); !ejected.empty()) return "holds: " + ejected;
  if (t.verdict.kind == VerdictKind::kUntrusted) return "holds: " + ShareTrouble(t);
  if (t.verdict.kind != VerdictKind::kSafe) return WhyUndecided(t);
  if (t.state.confirmed_seconds < step.min_duration.count()) {
    return fmt::format("proven; the step's minimum duration of {:g} s is not over",
                       step.min_duration.count());
  }
  return "";
}

void CheckDeadline(Transition& t) {
  State& state = t.state;
  const bool watching = state.stage == Stage::kWatching;
  const double limit = t.spec.deadline.count() + (watching ? t.spec.after_promotion.count() : 0.0);
  if (state.deadline_passed || state.stage_seconds <= limit) return;
  // A deadline is no reason to write over weights of someone else's; it passes once they are gone.
  const bool others_rule = state.foreign_edit || state.foreign_routes || state.unwritable;
  if (t.spec.on_deadline == OnDeadline::kRollBack && others_rule) return;
  state.deadline_passed = true;
  const std::string reason =
      watching ? fmt::format("the watch was not over {:g} s after its time: {}",
                             t.spec.deadline.count(), state.reason)
               : fmt::format("the step was neither proven safe nor harmful within {:g} s: {}",
                             t.spec.deadline.count(), state.reason);
  if (t.spec.on_deadline == OnDeadline::kRollBack) return RollBack(t, "deadline", reason);
  t.Log(state.phase, "hold", "deadline", reason);
}

void Begin(Transition& t, const std::string& version, std::string_view cause,
           const std::string& by) {
  State& state = t.state;
  const Phase from = state.phase;
  if (from == Phase::kProgressing || from == Phase::kPaused) {
    if (state.canary_version != version) Remember(state.past_versions, state.canary_version);
  } else {
    state.primary_version = t.seen.primary_versions.front();
  }
  PassOver(t, version);
  state.phase = Phase::kProgressing;
  state.step = 0;
  state.canary_version = version;
  state.old_primary_filter.reset();
  state.wanted = {};
  state.spec = t.spec;
  state.new_spec_said = false;
  state.would_act_said = false;
  state.revert = IsRevert(t, version);
  state.maintenance_due = false;
  state.foreign_edit = false;
  state.foreign_routes = false;
  state.unwritable = false;
  state.settled_percent = t.seen.splitter->canary_percent;
  state.started_wall_seconds = t.seen.wall_seconds;
  state.proven_wait = false;
  state.evidence = StartEvidence(state.evidence, t.seen);
  state.handled_alerts.clear();
  EnterStage(t, Stage::kPreparing, t.spec.act ? 0 : t.seen.splitter->canary_percent);
  t.Log(from, "start", cause,
        fmt::format("version {} is {} {}{}{}", version,
                    t.spec.act ? "rolled out over" : "watched beside", state.primary_version,
                    by.empty() ? "" : ", by order of " + by,
                    t.spec.act ? "" : "; nothing is written (act: false)"));
}

void EnterStage(Transition& t, Stage stage, double canary_percent) {
  State& state = t.state;
  state.wanted.routes = RoutesFor(t.spec, stage);
  const bool changes =
      t.seen.splitter && (!SamePercent(t.seen.splitter->canary_percent, canary_percent) ||
                          (t.spec.act && RoutesMove(t.seen, state.wanted.routes)));
  // Whom the primary's filter waited for; the canary's is another matter.
  if (state.stage == Stage::kPrimaryFilter) {
    state.await_membership = false;
    state.membership_baseline.clear();
  }
  state.stage = stage;
  state.stage_decision = state.decisions + 1;  // which is logged next
  state.wanted.canary_percent = canary_percent;
  state.stage_seconds = 0;
  state.confirmed_seconds = 0;
  BeginStageEvidence(state.evidence);
  state.confirmed = t.seen.splitter && !changes;
  state.deadline_passed = false;
  state.stranded = false;
  // Without a change the callers may still be on their way to this weight: who is waited for stays.
  if (changes) AwaitReload(t);
}

void AwaitMembership(Transition& t, Subset subset, bool filter_changes) {
  // Without a change the callers may still be on their way to this filter: who is waited for stays.
  if (subset == Subset::kCanary && !filter_changes) return;
  t.state.await_membership = filter_changes;
  t.state.membership_baseline.clear();
  for (const CallerFacts& caller : t.seen.callers) {
    t.state.membership_baseline[caller.id] =
        subset == Subset::kCanary ? caller.canary_changes : caller.primary_changes;
  }
}

void AwaitReload(Transition& t) {
  State& state = t.state;
  state.await_reload = true;
  state.reload_baseline.clear();
  for (const CallerFacts& caller : t.seen.callers) {
    if (caller.route_reloads) state.reload_baseline[caller.id] = *caller.route_reloads;
  }
}

void EnterStep(Transition& t, int step) {
  State& state = t.state;
  state.step = step;
  state.proven_wait = false;
  BeginStepEvidence(t.spec, state.evidence);
  EnterStage(t, Stage::kStepping, t.spec.steps[static_cast<std::size_t>(step)].weight_percent);
}

void AdvanceStep(Transition& t, std::string_view cause, const std::string& reason) {
  State& state = t.state;
  const Phase from = state.phase;
  if (state.step + 1 >= static_cast<int>(t.spec.steps.size())) {
    return BeginPromotion(t, cause, reason);
  }
  state.phase = Phase::kProgressing;
  EnterStep(t, state.step + 1);
  t.Log(from, "advance", cause, reason);
}

void RollBack(Transition& t, std::string_view cause, const std::string& reason) {
  if (!t.spec.act) return WouldRollBack(t, cause, reason);
  State& state = t.state;
  const Phase from = state.phase;
  const bool primary_moved =
      state.stage == Stage::kPrimaryFilter || state.stage == Stage::kPrimaryFull;
  state.phase = Phase::kRollingBack;
  state.foreign_edit = false;
  state.foreign_routes = false;
  state.proven_wait = false;
  if (primary_moved && state.old_primary_filter)
    state.wanted.primary_filter = state.old_primary_filter;
  EnterStage(t, Stage::kNone, 0);
  Remember(state.rolled_back_versions, state.canary_version);
  const std::string by_hand = WayBackByHand(t);
  t.Log(from, "rollback", cause, by_hand.empty() ? reason : reason + "; but " + by_hand);
  state.reason = reason;
}

void MovePhase(Transition& t) {
  switch (t.state.phase) {
    case Phase::kIdle:
    case Phase::kSucceeded:
    case Phase::kRolledBack:
      return Waiting(t);
    case Phase::kProgressing:
    case Phase::kPaused:
      // Not over a pause that a person has ordered.
      if (const std::string newer = Candidate(t, false);
          !newer.empty() && newer != t.state.canary_version && StartObstacle(t).empty() &&
          t.spec.start == StartMode::kNewVersion &&
          (t.state.phase == Phase::kProgressing || t.state.proven_wait)) {
        return Begin(t, newer, "superseded", "");
      }
      if (!t.spec.act) return LookOn(t);
      return t.state.stage == Stage::kPreparing ? Preparing(t) : Stepping(t);
    case Phase::kPromoting:
      return Promoting(t);
    case Phase::kRollingBack:
      return RollingBack(t);
  }
}

}  // namespace consul_canary::rollout
