// The way from the last step's proof to the end: all traffic to the canary, the watch, the primary
// subset takes the version, all traffic back to it.
#include <fmt/format.h>

#include <algorithm>

#include "analyzer/rollout/evidence.h"
#include "analyzer/rollout/expectation.h"
#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

// `promote: external`: whoever owns the primary's instances redeploys them.
void LeaveToOwner(Transition& t, std::string_view cause, const std::string& reason) {
  const bool holds_it = t.seen.primary_versions == std::vector{t.state.canary_version};
  AwaitMembership(t, Subset::kPrimary, !holds_it);
  EnterStage(t, Stage::kPrimaryFilter, t.state.wanted.canary_percent);
  t.Log(t.state.phase, "promote", cause,
        fmt::format("{}; subset {} is its owner's to bring to version {}", reason,
                    t.spec.primary_subset, t.state.canary_version));
}

// The sidecars follow Consul's catalog within moments; that long the subset has to stay as it is.
bool WaitsForOwner(Transition& t) {
  constexpr double kSettledSeconds = 5;
  State& state = t.state;
  if (WritesFilters(t.spec)) return false;
  if (!t.seen.instances_known || t.seen.primary_versions != std::vector{state.canary_version}) {
    state.confirmed_seconds = 0;
    const std::string held = Join(t.seen.primary_versions);
    state.reason = fmt::format("promotion waits for the owner of subset {}: it holds {}",
                               t.spec.primary_subset,
                               held.empty() ? "no passing instance" : "version " + held);
    if (!state.deadline_passed && state.stage_seconds > t.spec.deadline.count()) {
      state.deadline_passed = true;
      t.Log(state.phase, "hold", "deadline",
            fmt::format("{}, and has for {:g} s", state.reason, t.spec.deadline.count()));
    }
    return true;
  }
  if (state.confirmed_seconds >= kSettledSeconds) return false;
  state.reason = "promotion: the primary subset has just taken the new version";
  return true;
}

std::string PromotionObstacle(const Transition& t) {
  if (std::string obstacle = TrafficObstacle(t); !obstacle.empty()) {
    return "promotion holds: " + obstacle;
  }
  if (std::string trouble = RoutesTrouble(t); !trouble.empty()) return "promotion: " + trouble;
  if (!t.state.confirmed) return "promotion: the splitter is being written";
  if (std::string late = WeightStragglers(t.state, t.seen); !late.empty()) {
    return "promotion holds: " + late;
  }
  if (std::string ejected = ShieldTrouble(t); !ejected.empty()) {
    return "promotion holds: " + ejected;
  }
  // Else it would have been rolled back.
  if (IsHarmful(t.verdict)) {
    return fmt::format(
        "promotion holds: the canary is worse, and subset {} has no passing instance to go back to",
        t.spec.primary_subset);
  }
  return "";
}

// What takes the version back meanwhile, in words.
std::string HarmInWatch(const Transition& t) {
  if (!Uses(t.spec, JudgeMode::kSequential)) return "the thresholds tell harm";
  const Evidence& evidence = t.state.evidence;
  const std::string known =
      fmt::format("the primary failed {} of {} requests in this rollout",
                  evidence.rollout_primary.failures, evidence.rollout_primary.completed);
  if (evidence.failure_limit >= 1) {
    return known + ", too few to tell harm by before more than half of the requests fail";
  }
  return fmt::format("harm is a failure ratio above {:.2f}%, since {}",
                     100 * evidence.failure_limit, known);
}

// With all traffic at the canary, while the old version is still at hand.
void BeginWatch(Transition& t) {
  State& state = t.state;
  EnterStage(t, Stage::kWatching, state.wanted.canary_percent);
  state.watched_seconds = 0;
  BeginWatchEvidence(t.spec, state.evidence);
  t.Log(state.phase, "promote", "canary-full",
        fmt::format("all traffic is at the canary, and is watched there for {:g} s before the "
                    "primary subset takes its version; {}",
                    t.spec.after_promotion.count(), HarmInWatch(t)));
}

// What the watch still lacks; empty: it is over. Precondition: nothing stands against a promotion.
std::string Watch(Transition& t) {
  State& state = t.state;
  if (t.seen.counts_known) state.watched_seconds += t.seen.elapsed_seconds;
  if (state.watched_seconds < t.spec.after_promotion.count()) {
    return fmt::format("watched after promotion: {:.0f} of {:g} s; {}", state.watched_seconds,
                       t.spec.after_promotion.count(), Figures(t));
  }
  if (state.evidence.step_canary.completed == 0) {
    return "promotion holds: the canary has completed no request since it has all traffic";
  }
  const std::string& checks = t.verdict.threshold_obstacle;
  return checks.empty() ? "" : "watched after promotion; " + checks;
}

}  // namespace

void Promoting(Transition& t) {
  State& state = t.state;
  const bool watching = state.stage == Stage::kWatching;
  std::string obstacle = PromotionObstacle(t);
  if (obstacle.empty() && watching) obstacle = Watch(t);
  if (!obstacle.empty()) {
    state.reason = obstacle;
    if (watching) CheckDeadline(t);
    return;
  }
  if (state.stage == Stage::kCanaryFull && t.spec.after_promotion.count() > 0) return BeginWatch(t);
  if (state.stage == Stage::kCanaryFull) {
    return TakePrimary(t, "canary-full", "all traffic is at the canary");
  }
  if (watching) {
    return TakePrimary(t, "watched",
                       fmt::format("watched for {:.0f} s: {}", state.watched_seconds, Figures(t)));
  }
  if (state.stage == Stage::kPrimaryFilter) {
    if (WaitsForOwner(t)) return;
    const std::string late = MembershipStragglers(t.state, t.seen, Subset::kPrimary);
    const auto& filter = state.wanted.primary_filter;
    if ((filter && t.seen.primary_filter != filter) || !late.empty()) {
      state.reason = "promotion: the primary subset's new instances are not routable yet";
      if (!late.empty()) state.reason += " from " + late;
      return;
    }
    EnterStage(t, Stage::kPrimaryFull, 0);
    return t.Log(state.phase, "promote", "primary-filter",
                 "every caller has the new instances under the primary subset");
  }
  // What ends here is not watched any more.
  if (!t.seen.fenced) return;
  NotePromoted(t);
  state.phase = Phase::kSucceeded;
  state.stage = Stage::kNone;
  t.Log(Phase::kPromoting, "succeed", "promoted",
        fmt::format("version {} is the primary", state.canary_version));
}

void BeginPromotion(Transition& t, std::string_view cause, const std::string& reason) {
  State& state = t.state;
  const Phase from = state.phase;
  state.proven_wait = false;
  if (t.spec.promote == PromoteMode::kNone) {
    // Still watched: harm, an abort or a new version ends it.
    state.phase = Phase::kPaused;
    state.proven_wait = true;
    return t.Log(from, "pause", cause,
                 "the last step is proven and kept, as `promote: none` asks: " + reason);
  }
  state.phase = Phase::kPromoting;
  EnterStage(t, Stage::kCanaryFull, 100 - t.seen.splitter->other_percent);
  t.Log(from, "promote", cause, reason);
}

void TakePrimary(Transition& t, std::string_view cause, const std::string& reason) {
  if (!WritesFilters(t.spec)) return LeaveToOwner(t, cause, reason);
  State& state = t.state;
  state.old_primary_filter = t.seen.primary_filter;
  state.wanted.primary_filter = FilterForVersion(t.spec, state.canary_version);
  AwaitMembership(t, Subset::kPrimary, t.seen.primary_filter != state.wanted.primary_filter);
  EnterStage(t, Stage::kPrimaryFilter, state.wanted.canary_percent);
  t.Log(state.phase, "promote", cause, reason + "; the primary subset takes its version");
}

}  // namespace consul_canary::rollout
