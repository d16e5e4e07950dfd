#include "analyzer/rollout/callers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace consul_canary::rollout {
namespace {

// Consul's float32 arithmetic loses a hundredth of a percent of some weights on the way to Envoy.
constexpr double kAppliedTolerance = 0.015;
// One late caller of a small mesh is a hold; of a large one at most a twentieth may be late.
constexpr std::size_t kStaleDivisor = 20;

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
    if (std::abs(applied - state.wanted.canary_percent) > kAppliedTolerance) {
      return fmt::format("{} applies {:g}%", caller.id, applied);
    }
    // The weight says nothing of the routes before it.
    if (!state.spec || state.spec->match.empty() || !state.spec->act) return "";
  }
  if (!caller.route_reloads) {
    return caller.id + (caller.applied_canary_percent ? " does not tell whether it has the routes"
                                                      : " does not tell which weight it applies");
  }
  if (HasMoved(state.reload_baseline, caller.id, *caller.route_reloads)) return "";
  return caller.id + " has not taken the new route";
}

}  // namespace

std::string Join(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

void ForgetMovedCallers(State& state, const Observation& seen) {
  const bool primary = state.stage == Stage::kPrimaryFilter;
  for (const CallerFacts& caller : seen.callers) {
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

std::string StaleCallers(const Observation& seen) {
  std::vector<std::string> stale;
  for (const CallerFacts& caller : seen.callers) {
    if (!caller.fresh) stale.push_back(caller.id + " (" + caller.trouble + ")");
  }
  if (stale.size() * kStaleDivisor <= seen.callers.size()) return "";
  return "no fresh data from " + Join(stale);
}

std::string WeightStragglers(const State& state, const Observation& seen) {
  if (!state.await_reload) return "";
  std::vector<std::string> late;
  for (const CallerFacts& caller : seen.callers) {
    if (!caller.fresh) continue;
    if (std::string trouble = WeightTrouble(state, caller); !trouble.empty()) {
      late.push_back(std::move(trouble));
    }
  }
  return Join(late);
}

std::string MembershipStragglers(const State& state, const Observation& seen, Subset subset) {
  std::vector<std::string> late;
  for (const CallerFacts& caller : seen.callers) {
    if (!caller.fresh) continue;
    const bool canary = subset == Subset::kCanary;
    const std::uint64_t healthy = canary ? caller.canary_healthy : caller.primary_healthy;
    const std::uint64_t changes = canary ? caller.canary_changes : caller.primary_changes;
    const bool moved =
        !state.await_membership || HasMoved(state.membership_baseline, caller.id, changes);
    if (healthy == 0 || !moved) late.push_back(caller.id);
  }
  return Join(late);
}

}  // namespace consul_canary::rollout
