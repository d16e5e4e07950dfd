// `act: false`: everything but writes. The weights are those that another tool or a person sets;
// each is judged as a step of that weight would be, and the log says once what would have been done
// about it. Nothing is waited for that only a write of ours could bring: where an acting rollout
// would roll back this one ends, and it ends as well when somebody else promotes the version or
// takes its traffic away.
#include <fmt/format.h>

#include "analyzer/rollout/evidence.h"
#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

// The last step that the weight reaches; the first one where it reaches none.
int StepOf(const Spec& spec, double percent) {
  int step = 0;
  for (std::size_t i = 1; i < spec.steps.size(); ++i) {
    const double weight = spec.steps[i].weight_percent;
    if (weight < percent || SamePercent(weight, percent)) step = static_cast<int>(i);
  }
  return step;
}

void BeginAtWeight(Transition& t, double percent) {
  State& state = t.state;
  state.step = StepOf(t.spec, percent);
  state.would_act_said = false;
  BeginStepEvidence(t.spec, state.evidence);
  EnterStage(t, Stage::kStepping, percent);
  state.settled_percent = percent;
  // Sidecars that only tell that their route has changed may have told it before it was seen here;
  // those that tell their weight are waited for.
  state.await_reload = true;
  state.reload_baseline.clear();
  t.Log(state.phase, "observe", "weight",
        fmt::format("the splitter gives the canary {:g}%, which is judged as step {}", percent,
                    state.step + 1));
}

void End(Transition& t, Phase phase, std::string_view action, std::string_view cause,
         const std::string& reason) {
  State& state = t.state;
  const Phase from = state.phase;
  if (phase == Phase::kSucceeded) {
    NotePromoted(t);
  } else {
    Remember(state.rolled_back_versions, state.canary_version);
  }
  state.phase = phase;
  state.stage = Stage::kNone;
  state.proven_wait = false;
  state.wanted = {};
  t.Log(from, action, cause, reason);
}

bool HoldsTheVersion(const Transition& t) {
  return t.seen.instances_known &&
         t.seen.primary_versions == std::vector<std::string>{t.state.canary_version};
}

// Why the version is not judged yet; empty: it has traffic.
std::string WhyNotJudged(const Transition& t) {
  if (std::string obstacle = Obstacle(t); !obstacle.empty()) return obstacle;
  if (std::string trouble = CanaryTrouble(t); !trouble.empty()) return trouble;
  if (SamePercent(t.seen.splitter->canary_percent, 0))
    return "nobody has given the canary a weight";
  return "";
}

void AwaitWeight(Transition& t) {
  State& state = t.state;
  const std::string missing = WhyNotJudged(t);
  if (missing.empty()) return BeginAtWeight(t, t.seen.splitter->canary_percent);
  state.reason = "looks on (act: false): " + missing;
  if (state.deadline_passed || state.stage_seconds <= t.spec.ready_deadline.count()) return;
  state.deadline_passed = true;
  t.Log(state.phase, "hold", "ready-deadline",
        fmt::format("{}, for {:g} s now", state.reason, t.spec.ready_deadline.count()));
}

void SayWhatWouldFollow(Transition& t) {
  State& state = t.state;
  const auto next = static_cast<std::size_t>(state.step) + 1;
  std::string action = "would-promote";
  std::string what = "promote the version";
  if (t.spec.steps[next - 1].pause) {
    action = "would-pause";
    what = "wait for `promote`";
  } else if (next < t.spec.steps.size()) {
    action = "would-advance";
    what = fmt::format("set the canary to {:g}%", t.spec.steps[next].weight_percent);
  } else if (t.spec.promote == PromoteMode::kNone) {
    action = "would-pause";
    what = "keep the last step";
  }
  const std::string reason = fmt::format("would {} (act: false): {}", what, WhySafe(t));
  if (state.would_act_said) {
    state.reason = reason;
    return;
  }
  state.would_act_said = true;
  t.Log(state.phase, action, "proven", reason);
}

}  // namespace

void FollowWeight(Transition& t) {
  State& state = t.state;
  if (!t.seen.splitter) return;
  state.confirmed = true;
  const double percent = t.seen.splitter->canary_percent;
  if (SamePercent(percent, state.wanted.canary_percent)) return;
  if (state.stage != Stage::kStepping) {
    state.wanted.canary_percent = percent;
  } else if (!SamePercent(percent, 0)) {
    BeginAtWeight(t, percent);
  } else if (!HoldsTheVersion(t)) {
    End(t, Phase::kRolledBack, "rolled-back", "by-others",
        fmt::format("someone took the traffic of version {} away", state.canary_version));
  }
}

void LookOn(Transition& t) {
  State& state = t.state;
  if (HoldsTheVersion(t)) {
    return End(t, Phase::kSucceeded, "succeed", "by-others",
               fmt::format("someone made version {} the primary", state.canary_version));
  }
  if (state.phase == Phase::kPaused) return;
  if (state.stage != Stage::kStepping) return AwaitWeight(t);
  if (std::string obstacle = StepObstacle(t); !obstacle.empty()) {
    state.reason = obstacle;
    return CheckDeadline(t);
  }
  SayWhatWouldFollow(t);
}

void WouldRollBack(Transition& t, std::string_view cause, const std::string& reason) {
  End(t, Phase::kRolledBack, "would-rollback", cause,
      fmt::format("would roll back (act: false; the weights stay as they are): {}", reason));
}

}  // namespace consul_canary::rollout
