#include "analyzer/cli/replay.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "analyzer/rollout/decide.h"

namespace consul_canary::cli {
namespace {

using rollout::Observation;
using rollout::Phase;
using rollout::Stage;
using rollout::State;

constexpr const char* kPrimaryVersion = "primary";
constexpr const char* kCanaryVersion = "canary";
constexpr double kFirstTickSeconds = 1;
constexpr double kFreshSeconds = 3.5;  // as control::kFreshFor

// A mesh that already is as the state wants it.
Observation Obedient(const rollout::Spec& spec, const State& state, std::uint64_t moves) {
  Observation seen;
  const bool promoted = state.phase == Phase::kSucceeded;
  seen.splitter = {.canary_percent = state.wanted.canary_percent,
                   .primary_percent = 100 - state.wanted.canary_percent};
  seen.canary_filter = state.wanted.canary_filter.value_or("");
  seen.primary_filter =
      state.wanted.primary_filter.value_or(rollout::FilterForVersion(spec, kPrimaryVersion));
  seen.instances_known = true;
  seen.versions = {{kPrimaryVersion, 1, 1}, {kCanaryVersion, 1, 2}};
  seen.primary_versions = {promoted ? kCanaryVersion : kPrimaryVersion};
  seen.canary_passing = 1;
  seen.primary_passing = 1;
  // Whatever is waited for has moved since the last look.
  seen.callers = {{.id = "recording",
                   .fresh = true,
                   .canary_healthy = 1,
                   .canary_changes = moves,
                   .primary_healthy = 1,
                   .primary_changes = moves,
                   .route_reloads = moves}};
  return seen;
}

// Everything of a rollout that happens before its first request: until the first step's weight is
// confirmed.
State Started(const config::Recording& recording) {
  State state;
  constexpr std::uint64_t kLooks = 10;
  for (std::uint64_t look = 1; look <= kLooks; ++look) {
    Observation seen = Obedient(recording.spec, state, look);
    seen.primary_history = recording.primary_history;
    if (look == 1 && recording.spec.start == rollout::StartMode::kManual) {
      seen.orders = {{.sequence = 1, .kind = rollout::OrderKind::kStart, .by = "recording"}};
    }
    state = rollout::Decide(recording.spec, std::move(state), seen).state;
    if (state.stage == Stage::kStepping && state.confirmed) break;
  }
  return state;
}

void Apply(const config::RecordedTick& tick, double elapsed, State& state, Observation& seen) {
  seen.wall_seconds = tick.t;
  seen.elapsed_seconds = elapsed;
  seen.counts_known = true;
  seen.counts = {.harm_primary = tick.primary,
                 .harm_canary = tick.canary,
                 .safe_primary = tick.primary,
                 .safe_canary = tick.canary};
  if (!tick.healthy) seen.canary_passing = 0;
  rollout::CallerFacts& caller = seen.callers.front();
  caller.fresh = tick.age_seconds <= kFreshSeconds;
  if (!caller.fresh) caller.trouble = fmt::format("last read {:g} s ago", tick.age_seconds);
  // The caller still has the route that it had when the weight was decided.
  if (!tick.applied) state.reload_baseline[caller.id] = *caller.route_reloads;
  std::uint64_t sequence = state.last_order;
  for (rollout::Order order : tick.orders) {
    order.sequence = ++sequence;
    seen.orders.push_back(std::move(order));
  }
}

nlohmann::ordered_json ToJson(const ReplayedTick& tick) {
  nlohmann::ordered_json decisions = nlohmann::ordered_json::array();
  for (const rollout::Decision& decision : tick.decisions) {
    decisions.push_back({{"action", decision.action},
                         {"cause", decision.cause},
                         {"to", ToString(decision.to)},
                         {"weight", decision.weight_percent},
                         {"reason", decision.reason}});
  }
  return {{"t", tick.t},
          {"log_harm", tick.verdict.log_harm},
          {"log_safe", tick.verdict.log_safe},
          {"metrics",
           {{"failure_ratio",
             {{"log_harm", tick.verdict.log_harm}, {"log_safe", tick.verdict.log_safe}}}}},
          {"harm_bound", tick.verdict.harm_bound},
          {"safe_bound", tick.verdict.safe_bound},
          {"verdict", ToString(tick.verdict.kind)},
          {"phase", ToString(tick.phase)},
          {"step", tick.step},
          {"weight", tick.weight_percent},
          {"reason", tick.reason},
          {"decisions", std::move(decisions)}};
}

}  // namespace

std::vector<ReplayedTick> Replay(const config::Recording& recording) {
  std::vector<ReplayedTick> replayed;
  State state = Started(recording);
  double last_t = 0;
  std::uint64_t moves = 100;
  for (const config::RecordedTick& tick : recording.ticks) {
    const double elapsed = replayed.empty() ? kFirstTickSeconds : tick.t - last_t;
    last_t = tick.t;
    Observation seen = Obedient(recording.spec, state, ++moves);
    Apply(tick, elapsed, state, seen);
    rollout::Outcome outcome = rollout::Decide(recording.spec, std::move(state), seen);
    state = std::move(outcome.state);
    const bool stepping = IsActive(state.phase) && state.stage == Stage::kStepping;
    replayed.push_back({.t = tick.t,
                        .verdict = outcome.verdict,
                        .phase = state.phase,
                        .step = stepping ? state.step + 1 : 0,
                        .weight_percent = state.wanted.canary_percent,
                        .reason = state.reason,
                        .decisions = std::move(outcome.decisions)});
  }
  return replayed;
}

std::string ReplayTable(const std::vector<ReplayedTick>& ticks) {
  std::string text = fmt::format("{:>8} {:>10} {:>10} {:<12} {:>4} {:>7}  {}\n", "t", "log_harm",
                                 "log_safe", "phase", "step", "weight", "reason");
  for (const ReplayedTick& tick : ticks) {
    text += fmt::format("{:>8g} {:>10.4f} {:>10.4f} {:<12} {:>4} {:>6g}%  {}\n", tick.t,
                        tick.verdict.log_harm, tick.verdict.log_safe, ToString(tick.phase),
                        tick.step, tick.weight_percent, tick.reason);
  }
  return text;
}

std::string ReplayJson(const std::vector<ReplayedTick>& ticks) {
  std::string text;
  for (const ReplayedTick& tick : ticks) text += ToJson(tick).dump() + "\n";
  return text;
}

}  // namespace consul_canary::cli
