// What Decide() reads off an observation, in numbers and in words.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

constexpr double kHalfHundredth = 0.005;
// Consul's float32 arithmetic loses a hundredth of a percent of some weights on the way to Envoy.
constexpr double kAppliedTolerance = 0.015;
// One late caller of a small mesh is a hold; of a large one at most a twentieth may be late.
constexpr std::size_t kStaleDivisor = 20;

std::string Join(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

bool Contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Moved away from its baseline; a caller that was not known then started later and has the new
// configuration.
bool HasMoved(const std::map<std::string, std::uint64_t>& baseline, const std::string& caller,
              std::uint64_t now) {
  const auto found = baseline.find(caller);
  return found == baseline.end() || found->second != now;
}

std::string WeightTrouble(const State& state, const CallerFacts& caller) {
  if (caller.applied_canary_percent) {
    const double applied = *caller.applied_canary_percent;
    if (std::abs(applied - state.wanted.canary_percent) <= kAppliedTolerance) return "";
    return fmt::format("{} applies {:g}%", caller.id, applied);
  }
  if (!caller.route_reloads) return caller.id + " does not tell which weight it applies";
  if (HasMoved(state.reload_baseline, caller.id, *caller.route_reloads)) return "";
  return caller.id + " has not taken the new route";
}

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

}  // namespace

bool SamePercent(double a, double b) { return std::abs(a - b) < kHalfHundredth; }

void ObserveSplitter(Transition& t) {
  State& state = t.state;
  if (!IsActive(state.phase) || !t.seen.splitter) return;
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
}

void ForgetMovedCallers(Transition& t) {
  State& state = t.state;
  const bool primary = state.stage == Stage::kPrimaryFilter;
  for (const CallerFacts& caller : t.seen.callers) {
    if (!caller.fresh) continue;
    const auto moved = [&caller](const auto& baseline, std::uint64_t now) {
      return baseline.contains(caller.id) && HasMoved(baseline, caller.id, now);
    };
    if (caller.route_reloads && moved(state.reload_baseline, *caller.route_reloads)) {
      state.reload_baseline.erase(caller.id);
    }
    const std::uint64_t changes = primary ? caller.primary_changes : caller.canary_changes;
    if (moved(state.membership_baseline, changes)) state.membership_baseline.erase(caller.id);
  }
}

std::string Obstacle(const Transition& t) {
  if (!t.seen.unknown.empty()) return t.seen.unknown;
  if (!t.seen.splitter) return "the service has no splitter";
  if (t.state.foreign_edit) return "the splitter was edited by someone else";
  if (!t.seen.instances_known) return "the service's instances are not known";
  if (t.seen.callers.empty()) return "no caller's sidecar is known and passing";
  std::vector<std::string> stale;
  for (const CallerFacts& caller : t.seen.callers) {
    if (!caller.fresh) stale.push_back(caller.id + " (" + caller.trouble + ")");
  }
  if (stale.size() * kStaleDivisor > t.seen.callers.size()) {
    return "no fresh data from " + Join(stale);
  }
  return "";
}

std::string TrafficObstacle(const Transition& t) {
  if (std::string obstacle = Obstacle(t); !obstacle.empty()) return obstacle;
  if (t.seen.canary_passing == 0) return "the canary subset has no passing instance";
  const Wanted& wanted = t.state.wanted;
  if (wanted.canary_filter && t.seen.canary_filter != wanted.canary_filter) {
    return fmt::format("the resolver's filter of subset {} is not {}, as the rollout wants it",
                       t.spec.canary_subset, *wanted.canary_filter);
  }
  if (t.state.stage == Stage::kPrimaryFull && t.seen.primary_filter != wanted.primary_filter) {
    return fmt::format("the resolver's filter of subset {} is not {}, as the rollout wants it",
                       t.spec.primary_subset, wanted.primary_filter.value_or(""));
  }
  return "";
}

std::string WeightStragglers(const Transition& t) {
  if (!t.state.await_reload) return "";
  std::vector<std::string> late;
  for (const CallerFacts& caller : t.seen.callers) {
    if (!caller.fresh) continue;
    if (std::string trouble = WeightTrouble(t.state, caller); !trouble.empty()) {
      late.push_back(std::move(trouble));
    }
  }
  return Join(late);
}

std::string MembershipStragglers(const Transition& t, Subset subset) {
  std::vector<std::string> late;
  for (const CallerFacts& caller : t.seen.callers) {
    if (!caller.fresh) continue;
    const bool canary = subset == Subset::kCanary;
    const std::uint64_t healthy = canary ? caller.canary_healthy : caller.primary_healthy;
    const std::uint64_t changes = canary ? caller.canary_changes : caller.primary_changes;
    const bool moved =
        !t.state.await_membership || HasMoved(t.state.membership_baseline, caller.id, changes);
    if (healthy == 0 || !moved) late.push_back(caller.id);
  }
  return Join(late);
}

std::string Figures(const Transition& t) {
  const Evidence& evidence = t.state.evidence;
  return fmt::format(
      "ln M of harm {:.2f} of {:.2f}, of safety {:.2f} of {:.2f}; at this step the canary failed "
      "{} of {} requests, the primary {} of {}",
      t.verdict.log_harm, t.verdict.harm_bound, t.verdict.log_safe, t.verdict.safe_bound,
      evidence.step_canary.failures, evidence.step_canary.completed, evidence.step_primary.failures,
      evidence.step_primary.completed);
}

bool IsKept(const Transition& t) {
  return t.spec.promote == PromoteMode::kNone && t.state.phase == Phase::kPaused &&
         t.state.proven_wait && t.state.step + 1 == static_cast<int>(t.spec.steps.size());
}

std::string Candidate(const Transition& t, bool explicit_start) {
  const VersionSeen* newest = nullptr;
  for (const VersionSeen& seen : t.seen.versions) {
    if (seen.version.empty() || Contains(t.seen.primary_versions, seen.version)) continue;
    const bool was_rolled = Contains(t.state.rolled_back_versions, seen.version) ||
                            Contains(t.state.past_versions, seen.version);
    if (was_rolled && !explicit_start) continue;
    if (newest == nullptr || seen.newest_index > newest->newest_index) newest = &seen;
  }
  return newest == nullptr ? "" : newest->version;
}

std::string StartObstacle(const Transition& t) {
  if (std::string obstacle = Obstacle(t); !obstacle.empty()) return obstacle;
  if (!t.seen.primary_filter || !t.seen.canary_filter) {
    return fmt::format("the resolver has no subset {}",
                       !t.seen.primary_filter ? t.spec.primary_subset : t.spec.canary_subset);
  }
  if (t.seen.primary_versions.empty()) return "the primary subset has no passing instance";
  if (t.seen.primary_versions.size() > 1) {
    return "the primary subset holds several versions: " + Join(t.seen.primary_versions);
  }
  if (!SamePercent(t.seen.splitter->canary_percent, t.state.wanted.canary_percent)) {
    return fmt::format("the splitter gives the canary {:g}% outside a rollout; set it to {:g}",
                       t.seen.splitter->canary_percent, t.state.wanted.canary_percent);
  }
  if (t.spec.steps.back().weight_percent + t.seen.splitter->other_percent > 100 + kHalfHundredth) {
    return fmt::format("other splits hold {:g}%, which leaves less than the last step's {:g}%",
                       t.seen.splitter->other_percent, t.spec.steps.back().weight_percent);
  }
  return "";
}

}  // namespace consul_canary::rollout
