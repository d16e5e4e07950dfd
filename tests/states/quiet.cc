#include "tests/states/quiet.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "tests/states/claims.h"
#include "tests/states/digest.h"
#include "tests/states/events.h"

namespace consul_canary::states {
namespace {

using rollout::OrderKind;
using rollout::Phase;

bool IsKept(const Model& model) {
  return model.spec->promote == rollout::PromoteMode::kNone && model.memory.proven_wait &&
         model.memory.step + 1 == static_cast<int>(model.spec->steps.size());
}

// Where nothing moves any more: what a person has to do, done. Empty: nothing is left to do, or
// nobody is said to have to.
std::string ActAsPerson(Model& model) {
  const rollout::State& state = model.memory;
  if (!IsActive(state.phase)) return "";
  if (state.foreign_edit || state.foreign_routes) {
    model.Give({.kind = OrderKind::kResume});
    return state.foreign_edit ? "foreign weights wait for `resume`"
                              : "a foreign edit of the routes waits for `resume`";
  }
  if (state.phase != Phase::kPaused || IsKept(model)) return "";
  model.Give({.kind = OrderKind::kResume});
  return state.proven_wait ? "a proven step waits for `promote`" : "a pause waits for `resume`";
}

// Nothing moves any more and nobody is asked for anything.
std::string WhyStuck(const Model& model, Requests requests) {
  const rollout::State& state = model.memory;
  if (IsActive(state.phase) && !(state.phase == Phase::kPaused && IsKept(model))) {
    return fmt::format("{} at stage {}: {}", ToString(state.phase), ToString(state.stage),
                       state.reason);
  }
  if (IsActive(state.phase) && requests == Requests::kBad) return "a bad canary is kept";
  if (!IsActive(state.phase) && model.last && model.last->outcome.waits.empty()) {
    return "nothing is said of what the next rollout waits for";
  }
  return "";
}

}  // namespace

Ending QuietWorld::Run(Model model) {
  BringQuiet(model);
  Ending ending;
  std::vector<std::uint64_t> way;
  std::unordered_set<std::uint64_t> since_act;
  int known = 0;
  for (;; ++ending.ticks) {
    const std::uint64_t now = DigestOf(model);
    if (const auto found = ticks_left_.find(now); found != ticks_left_.end()) {
      known = found->second;
      break;
    }
    // Nothing new comes any more: the same world, or a round of windows without requests.
    if (!since_act.insert(now).second) {
      since_act.clear();
      const std::string wait = ActAsPerson(model);
      if (wait.empty()) {
        ending.stuck = WhyStuck(model, requests_);
        break;
      }
      ending.waits.push_back(wait);
    }
    way.push_back(now);
    if (ending.ticks == kMostTicks) {
      ending.stuck = fmt::format("not at rest after {} ticks; {}, stage {}: {}", kMostTicks,
                                 ToString(model.memory.phase), ToString(model.memory.stage),
                                 model.memory.reason);
    }
    if (!ending.stuck.empty()) break;
    model.Tick(requests_);
    const auto broken = BrokenClaims(model);
    if (!broken.empty()) ending.stuck = broken.front();
  }
  if (!ending.stuck.empty()) return ending;
  ending.ticks += known;
  longest_ = std::max(longest_, ending.ticks);
  for (std::size_t i = 0; i < way.size(); ++i) {
    ticks_left_.emplace(way[i], ending.ticks - static_cast<int>(i));
  }
  return ending;
}

}  // namespace consul_canary::states
