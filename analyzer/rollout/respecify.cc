// A specification that changes, or goes, in the middle of a rollout. What has been judged by one
// specification is no proof by another, so the version is rolled out from the first step again,
// with weight 0 first; the log says so. Only what concerns neither evidence nor entries is taken
// over at the present step.
#include <fmt/format.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

// Weights alone, without what a change at the present step leaves as it is.
std::vector<double> WeightsOf(const Spec& spec) {
  std::vector<double> weights;
  weights.reserve(spec.steps.size());
  for (const Step& step : spec.steps) weights.push_back(step.weight_percent);
  return weights;
}

bool DifferGently(const Spec& former, const Spec& spec) {
  if (WeightsOf(former) != WeightsOf(spec)) return false;
  Spec same = former;
  same.steps = spec.steps;
  same.start = spec.start;
  same.ready_deadline = spec.ready_deadline;
  same.on_deadline = spec.on_deadline;
  same.rollback_window = spec.rollback_window;
  same.maintenance_on_rollback = spec.maintenance_on_rollback;
  return same == spec;
}

bool HasSteps(const State& state) {
  return state.phase == Phase::kProgressing || state.phase == Phase::kPaused;
}

// Both look at the same subsets, and tell versions in the same way.
bool LooksAlike(const Spec& former, const Spec& spec) {
  const auto key = [](const Spec& s) {
    return std::tie(s.service, s.primary_subset, s.canary_subset, s.version_key,
                    s.version_tag_prefix);
  };
  return key(former) == key(spec);
}

std::string Differences(const Spec& a, const Spec& b) {
  const std::pair<bool, const char*> keys[] = {
      {a.namespace_name == b.namespace_name, "namespace"},
      {a.partition == b.partition, "partition"},
      {a.datacenter == b.datacenter, "datacenter"},
      {a.primary_subset == b.primary_subset && a.canary_subset == b.canary_subset, "subsets"},
      {a.act == b.act, "act"},
      {a.start == b.start, "start"},
      {a.version_key == b.version_key, "version_key"},
      {a.version_tag_prefix == b.version_tag_prefix, "version_tag_prefix"},
      {a.subset_filter == b.subset_filter, "subset_filter"},
      {a.steps == b.steps, "strategy.steps"},
      {a.match == b.match, "strategy.match"},
      {a.ready_deadline == b.ready_deadline, "strategy.ready_deadline"},
      {a.warmup == b.warmup, "strategy.warmup"},
      {a.deadline == b.deadline, "strategy.deadline"},
      {a.on_deadline == b.on_deadline, "strategy.on_deadline"},
      {a.after_promotion == b.after_promotion, "strategy.after_promotion"},
      {a.shield == b.shield, "shield"},
      {a.promote == b.promote, "promote"},
      {a.rollback_window == b.rollback_window, "rollback_window"},
      {a.maintenance_on_rollback == b.maintenance_on_rollback, "on_rollback"}};
  std::string text;
  for (const auto& [same, key] : keys) {
    if (!same) text += (text.empty() ? "" : ", ") + std::string(key);
  }
  return text.empty() ? "analysis" : text;
}

// From now on nothing is written, not even a way back.
void StopActing(Transition& t) {
  State& state = t.state;
  const Phase from = state.phase;
  state.phase = Phase::kIdle;
  state.stage = Stage::kNone;
  state.proven_wait = false;
  state.foreign_edit = false;
  state.foreign_routes = false;
  state.wanted = {};
  const std::string weight =
      t.seen.splitter
          ? fmt::format("the splitter gives the canary {:g}%, and", t.seen.splitter->canary_percent)
          : std::string("there is no splitter, and");
  t.Log(from, "respecify", "spec-changed",
        fmt::format("the specification now says act: false: the rollout of version {} ends here; "
                    "{} all entries stay as they are",
                    state.canary_version, weight));
}

void BeginAgain(Transition& t, const Spec& spec, const std::string& changes) {
  Transition next{spec, t.seen, t.verdict, std::move(t.state), std::move(t.decisions), t.waits};
  const std::string version = next.state.canary_version;
  Begin(next, version, "spec-changed", "");
  Decision& decision = next.decisions.back();
  decision.reason +=
      fmt::format(", from the first step again: {} changed in the specification", changes);
  next.state.reason = decision.reason;
  t.state = std::move(next.state);
  t.decisions = std::move(next.decisions);
}

// Rolled back through no fault of its own.
void RollBackBlamelessly(Transition& t, std::string_view cause, const std::string& reason) {
  const std::string version = t.state.canary_version;
  RollBack(t, cause, reason);
  std::erase(t.state.rolled_back_versions, version);
}

void SayThatItWaits(Transition& t, const std::string& changes, const std::string& until) {
  if (t.state.new_spec_said) return;
  t.state.new_spec_said = true;
  const std::string before = t.state.reason;
  t.Log(t.state.phase, "hold", "spec-changed",
        fmt::format("{} changed in the specification; the former one rules until {}", changes,
                    until));
  t.state.reason = before;
}

}  // namespace

bool IsRespecified(const Spec& spec, const State& state) {
  return IsActive(state.phase) && state.spec && *state.spec != spec;
}

bool IsGentle(const Spec& spec, const State& state) {
  return HasSteps(state) && state.spec && DifferGently(*state.spec, spec);
}

void TakeOver(Transition& t) {
  const std::string changes = Differences(*t.state.spec, t.spec);
  t.state.spec = t.spec;
  t.Log(t.state.phase, "respecify", "spec-changed",
        changes + " changed in the specification; the rollout goes on at its step");
}

void Respecify(Transition& t, const Spec& spec) {
  State& state = t.state;
  if (!IsRespecified(spec, state)) return;
  if (!spec.act && state.spec->act) return StopActing(t);
  const std::string changes = Differences(*state.spec, spec);
  if (!HasSteps(state)) return SayThatItWaits(t, changes, "this rollout has ended");
  // A pause that a person has ordered stays one.
  if (state.phase == Phase::kPaused && !state.proven_wait) {
    return SayThatItWaits(t, changes, "the rollout is resumed");
  }
  if (!LooksAlike(*state.spec, spec)) {
    return RollBackBlamelessly(
        t, "spec-changed",
        changes + " changed in the specification: all traffic goes back before it counts");
  }
  const Transition next{spec, t.seen, t.verdict, state, {}, {}};
  if (const std::string obstacle = StartObstacle(next); !obstacle.empty()) {
    return SayThatItWaits(t, changes, "nothing stands against a start: " + obstacle);
  }
  BeginAgain(t, spec, changes);
}

void EndUnspecified(Transition& t) {
  if (!IsActive(t.state.phase) || t.state.phase == Phase::kRollingBack) return;
  RollBackBlamelessly(t, "spec-deleted",
                      "the specification was deleted: all traffic goes back to the primary");
}

}  // namespace consul_canary::rollout
