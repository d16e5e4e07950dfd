// What Decide() reads off an observation, in numbers and in words.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analyzer/rollout/evidence.h"
#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

constexpr double kHalfHundredth = 0.005;

void NoteForeignEdit(Transition& t) {
  if (t.state.foreign_edit) return;
  t.state.foreign_edit = true;
  t.Log(t.state.phase, "hold", "foreign-edit",
        fmt::format("the splitter was edited by someone else: canary {:g}%, primary {:g}%, where "
                    "{:g}% for the canary was set; nothing is written over it: set it back, or "
                    "`resume` to overwrite it, or `abort`",
                    t.seen.splitter->canary_percent, t.seen.splitter->primary_percent,
                    t.state.settled_percent));
}

void NoteDeletedSplitter(Transition& t) {
  if (t.state.foreign_edit) return;
  t.state.foreign_edit = true;
  t.Log(t.state.phase, "hold", "foreign-edit",
        "the splitter was deleted by someone else; nothing is written in its place: make it anew, "
        "or `abort`");
  t.state.confirmed = false;
}

void Confirm(Transition& t) {
  State& state = t.state;
  state.settled_percent = state.wanted.canary_percent;
  if (!state.confirmed) {
    state.confirmed = true;
    state.confirmed_seconds = 0;
  }
  if (state.foreign_edit) {
    state.foreign_edit = false;
    t.Log(state.phase, "resume", "foreign-edit", "the splitter is again as the rollout wants it");
  }
}

// What the mesh lacks of the shield that the specification requires; empty: nothing. Once the
// primary subset takes the version as well there is nobody left to be kept from it.
std::string LackingShield(const Transition& t) {
  const Stage stage = t.state.stage;
  if (t.spec.shield != ShieldUse::kRequire || stage == Stage::kPrimaryFilter ||
      stage == Stage::kPrimaryFull) {
    return "";
  }
  const std::string lacks =
      t.seen.shield ? t.seen.shield->lacks
                    : fmt::format("the service-resolver has no Failover of subset {} to {} alone",
                                  t.spec.canary_subset, t.spec.primary_subset);
  if (lacks.empty()) return "";
  return fmt::format("shield: require, but {}; see `consul-canaryctl check {}`", lacks,
                     t.spec.service);
}

// Who keeps instances of the canary out of their traffic, in words; empty: nobody.
std::string EjectingCallers(const Transition& t) {
  std::vector<std::string> ejecting;
  for (const CallerFacts& caller : t.seen.callers) {
    if (caller.canary_ejected > 0) ejecting.push_back(caller.id);
  }
  if (ejecting.empty()) return "";
  return "outlier detection has ejected instances of it at " + Join(ejecting);
}

}  // namespace

bool SamePercent(double a, double b) { return std::abs(a - b) < kHalfHundredth; }

void ObserveSplitter(Transition& t) {
  State& state = t.state;
  if (!IsActive(state.phase)) return;
  if (!t.spec.act) return FollowWeight(t);
  if (!t.seen.splitter) {
    if (t.seen.entries_known && state.phase != Phase::kRollingBack) NoteDeletedSplitter(t);
    return;
  }
  const SplitterView& splitter = *t.seen.splitter;
  const auto is = [&splitter](double canary) {
    return SamePercent(splitter.canary_percent, canary) &&
           SamePercent(splitter.primary_percent, 100 - splitter.other_percent - canary);
  };
  if (is(state.wanted.canary_percent)) return Confirm(t);
  if (state.phase == Phase::kRollingBack) {
    // Every other weight is written over, so none is foreign; but it is not over yet.
    state.confirmed = false;
    return;
  }
  if (is(state.settled_percent)) return;
  NoteForeignEdit(t);
  // Neither proof nor duration count until the weight stands there again.
  state.confirmed = false;
}

std::string Unwritable(const Transition& t) {
  if (!t.spec.act) return "";
  if (!t.seen.splitter_unwritable.empty()) return t.seen.splitter_unwritable;
  if (!t.spec.match.empty() && !t.seen.router_unwritable.empty()) return t.seen.router_unwritable;
  return WritesFilters(t.spec) ? t.seen.resolver_unwritable : "";
}

std::string WayBackByHand(const Transition& t) {
  if (!t.spec.act) return "";
  std::string by_hand;
  if (const std::string& why = t.seen.splitter_unwritable; !why.empty()) {
    by_hand =
        "the canary's traffic cannot be taken back from here: set the canary's weight to 0 in the "
        "custom resource by hand, now; " +
        why;
  }
  const auto& filter = t.state.wanted.primary_filter;
  if (const std::string& why = t.seen.resolver_unwritable;
      !why.empty() && filter && t.seen.primary_filter != filter) {
    by_hand += fmt::format(
        "{}the filter of subset {} cannot be put back from here: set it to {} in the custom "
        "resource by hand, now; {}",
        by_hand.empty() ? "" : "; ", t.spec.primary_subset, *filter, why);
  }
  if (const std::string& why = t.seen.router_unwritable;
      !why.empty() && RoutesMove(t.seen, t.state.wanted.routes)) {
    by_hand += fmt::format(
        "{}the routes of strategy.match cannot be taken out from here: take them out of the custom "
        "resource by hand, now; {}",
        by_hand.empty() ? "" : "; ", why);
  }
  return by_hand;
}

void ObserveOwner(Transition& t) {
  State& state = t.state;
  if (!IsActive(state.phase)) return;
  const std::string why = Unwritable(t);
  if (why.empty() != state.unwritable) return;
  state.unwritable = !why.empty();
  const std::string before = state.reason;
  const bool rolls_back = state.phase == Phase::kRollingBack;
  if (why.empty()) {
    t.Log(state.phase, "resume", "owned", "splitter, router and resolver may be written again");
  } else {
    const std::string by_hand = rolls_back ? WayBackByHand(t) : "";
    t.Log(state.phase, "hold", "owned",
          by_hand.empty() ? "it cannot be written any more: " + why : by_hand);
  }
  if (rolls_back) state.reason = before;
}

std::string Obstacle(const Transition& t) {
  if (!t.seen.fleet_pause.empty()) return t.seen.fleet_pause;
  if (!t.seen.unknown.empty()) return t.seen.unknown;
  if (std::string why = Unwritable(t); !why.empty()) return why;
  if (!t.seen.splitter) return "the service has no splitter";
  if (t.state.foreign_edit) return "the splitter was edited by someone else";
  if (t.state.foreign_routes) {
    return "the routes of strategy.match were changed by someone else in the service-router";
  }
  if (!t.seen.instances_known) return "the service's instances are not known";
  if (t.seen.doubtful) return "Consul has just come back and its checks may not all have run again";
  if (t.seen.callers.empty()) return "no caller's sidecar is known and passing";
  if (std::string late = StaleCallers(t.seen); !late.empty()) return late;
  return LackingShield(t);
}

std::string TrafficObstacle(const Transition& t) {
  if (std::string obstacle = Obstacle(t); !obstacle.empty()) return obstacle;
  if (t.seen.canary_passing == 0) return "the canary subset has no passing instance";
  const Wanted& wanted = t.state.wanted;
  if (wanted.canary_filter && t.seen.canary_filter != wanted.canary_filter) {
    return fmt::format("the resolver's filter of subset {} is not {}, as the rollout wants it",
                       t.spec.canary_subset, *wanted.canary_filter);
  }
  if (std::string trouble = CanaryTrouble(t); !trouble.empty()) return trouble;
  if (t.state.stage == Stage::kPrimaryFull && wanted.primary_filter &&
      t.seen.primary_filter != wanted.primary_filter) {
    return fmt::format("the resolver's filter of subset {} is not {}, as the rollout wants it",
                       t.spec.primary_subset, wanted.primary_filter.value_or(""));
  }
  return "";
}

std::string CanaryTrouble(const Transition& t) {
  if (CanaryIsTheRollouts(t.spec, t.seen, t.state)) return "";
  const std::string held = Join(t.seen.canary_versions);
  return fmt::format("subset {} holds {}, where version {} is rolled out", t.spec.canary_subset,
                     held.empty() ? "no passing instance" : held, t.state.canary_version);
}

std::string Figures(const Transition& t) {
  const Evidence& evidence = t.state.evidence;
  if (t.state.stage == Stage::kWatching) {
    return fmt::format(
        "ln M of harm {:.2f} of {:.2f}; with all traffic the canary failed {} of {} requests, held "
        "against {:.2f}%, since the primary failed {} of {} in this rollout",
        t.verdict.log_harm, t.verdict.harm_bound, evidence.step_canary.failures,
        evidence.step_canary.completed, 100 * std::min(1.0, evidence.failure_limit),
        evidence.rollout_primary.failures, evidence.rollout_primary.completed);
  }
  return fmt::format(
      "ln M of harm {:.2f} of {:.2f}, of safety {:.2f} of {:.2f}; at this step the canary failed "
      "{} of {} requests, the primary {} of {}",
      t.verdict.log_harm, t.verdict.harm_bound, t.verdict.log_safe, t.verdict.safe_bound,
      evidence.step_canary.failures, evidence.step_canary.completed, evidence.step_primary.failures,
      evidence.step_primary.completed);
}

std::string WhyHarm(const Transition& t) {
  std::vector<std::string> blamed;
  for (const MetricVerdict& metric : t.verdict.metrics) {
    if (metric.blamed) blamed.push_back(metric.name);
  }
  std::string text = fmt::format("the canary is proven worse than the primary in {}: {}",
                                 Join(blamed), Figures(t));
  if (t.state.evidence.rollout_late > 0) {
    text += fmt::format("; at least {} of its requests took longer than {:g} s",
                        t.state.evidence.rollout_late, t.state.evidence.late_after_seconds);
  }
  return text;
}

std::string WhySafe(const Transition& t) {
  if (t.spec.judge == JudgeMode::kThresholds) return "every threshold's last check passed";
  return "proven not worse than the margin: " + Figures(t);
}

std::string WhyUndecided(const Transition& t) {
  const std::string& thresholds = t.verdict.threshold_obstacle;
  if (t.spec.judge == JudgeMode::kThresholds) return "collects evidence: " + thresholds;
  std::string text = "collects evidence: " + Figures(t);
  if (const double settling = SettlingSeconds(t.seen); t.state.confirmed_seconds < settling) {
    return text + fmt::format("; nothing is proven before slow requests have had {:g} s", settling);
  }
  if (t.verdict.log_safe >= t.verdict.safe_bound) return text + "; " + thresholds;
  for (const MetricVerdict& metric : t.verdict.metrics) {
    if (metric.log_safe && *metric.log_safe == t.verdict.log_safe &&
        metric.name != t.verdict.metrics.front().name) {
      text += "; least proven is " + metric.name;
    }
  }
  return text;
}

std::string ShieldTrouble(const Transition& t) {
  const State& state = t.state;
  const Evidence& evidence = state.evidence;
  const bool has_all = state.stage == Stage::kCanaryFull || state.stage == Stage::kWatching;
  if (!has_all && state.stage != Stage::kStepping) return "";
  if (!evidence.shielded) return "";
  // Those two may last a tick.
  const double now = has_all && t.seen.shield ? t.seen.shield->ejected : 0;
  if (IsMostlyEjected(evidence) || now > kMostEjected) {
    const std::string ejecting = EjectingCallers(t);
    return fmt::format(
        "the shield keeps {:.0f}% of the canary's instances out of the traffic{}{}; what is "
        "ejected is not proven",
        std::max(now, evidence.ejected_share) * 100, ejecting.empty() ? "" : ": ", ejecting);
  }
  if (const std::string silent = SilentInstance(evidence); !silent.empty()) {
    const std::string ejecting = EjectingCallers(t);
    return fmt::format(
        "{} passes its checks and completes no requests where {:.0f} were due to it{}{}; behind "
        "the "
        "shield no caller notices, and silence is no health",
        silent, evidence.silent_instances.at(silent), ejecting.empty() ? "" : ": ", ejecting);
  }
  if (!has_all || evidence.stage_primary.completed <= evidence.stage_canary.completed) return "";
  return fmt::format(
      "the primary has completed {} requests and the canary {} since all traffic is the canary's",
      evidence.stage_primary.completed, evidence.stage_canary.completed);
}

std::string ShareTrouble(const Transition& t) {
  const SplitterView& splitter = *t.seen.splitter;
  std::string causes = EjectingCallers(t);
  if (causes.empty()) {
    causes =
        "sidecars that still apply another weight, outlier detection, a failover, requests that "
        "hang, or another splitter or route before this one";
  }
  if (IsSilent(t.state.evidence)) {
    return fmt::format(
        "the canary completes no requests where its weight makes {:.0f} due; silence is no health",
        t.state.evidence.silent_requests);
  }
  const double share = t.verdict.observed_share.value_or(0);
  return fmt::format(
      "the canary gets {:.2f}% of the requests where the splitter gives it {:g}%: {}", share * 100,
      100 * splitter.canary_percent / (splitter.canary_percent + splitter.primary_percent), causes);
}

bool IsKept(const Transition& t) {
  return t.spec.promote == PromoteMode::kNone && t.state.phase == Phase::kPaused &&
         t.state.proven_wait && t.state.step + 1 == static_cast<int>(t.spec.steps.size());
}

std::string StartObstacle(const Transition& t) {
  if (t.seen.spec_deleted) return "the specification was deleted";
  if (std::string obstacle = Obstacle(t); !obstacle.empty()) return obstacle;
  if (!t.seen.primary_filter || !t.seen.canary_filter) {
    return fmt::format("the resolver has no subset {}",
                       !t.seen.primary_filter ? t.spec.primary_subset : t.spec.canary_subset);
  }
  if (t.seen.primary_versions.empty()) return "the primary subset has no passing instance";
  if (t.seen.primary_versions.size() > 1) {
    return "the primary subset holds several versions: " + Join(t.seen.primary_versions);
  }
  if (!t.spec.act) return "";  // whoever writes the weights, they are theirs
  if (!SamePercent(t.seen.splitter->canary_percent, t.state.wanted.canary_percent)) {
    return fmt::format("the splitter gives the canary {:g}% outside a rollout; set it to {:g}",
                       t.seen.splitter->canary_percent, t.state.wanted.canary_percent);
  }
  // Once a rollout is under way whatever reads so counts as its own.
  if (t.seen.router && !t.seen.router->unnamed.empty() && !IsActive(t.state.phase)) {
    return fmt::format(
        "the service-router has a route of its own from {} to subset {}, as "
        "strategy.match puts in and takes out again; take it out",
        t.seen.router->unnamed, t.spec.canary_subset);
  }
  if (t.spec.steps.back().weight_percent + t.seen.splitter->other_percent > 100 + kHalfHundredth) {
    return fmt::format("other splits hold {:g}%, which leaves less than the last step's {:g}%",
                       t.seen.splitter->other_percent, t.spec.steps.back().weight_percent);
  }
  return "";
}

}  // namespace consul_canary::rollout
