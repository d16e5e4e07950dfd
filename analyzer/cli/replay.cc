#include "analyzer/cli/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "analyzer/rollout/decide.h"

namespace consul_canary::cli {
namespace {

using config::RecordedTick;
using config::Recording;
using rollout::Decision;
using rollout::Observation;
using rollout::Stage;
using rollout::State;
using Json = nlohmann::ordered_json;

constexpr const char* kPrimaryVersion = "primary";
constexpr const char* kCanaryVersion = "canary";
constexpr double kFreshSeconds = 3.5;  // as control::kFreshFor

std::vector<double> EdgesOf(const Recording& recording) {
  std::set<double> edges;
  for (const RecordedTick& tick : recording.ticks) {
    for (const auto* subset : {&tick.counts.primary, &tick.counts.canary}) {
      for (const auto& [edge, slower] : subset->latency.slower) edges.insert(edge);
    }
  }
  return {edges.begin(), edges.end()};
}

// What an analyzer that is started again does not find in the state that it loads.
void ForgetUnstored(rollout::Evidence& evidence) {
  evidence.dispersion.open = {};
  for (rollout::EdgeEvidence& edge : evidence.latency) edge.dispersion.open = {};
}

class Player {
 public:
  explicit Player(const Recording& recording)
      : recording_(recording),
        spec_(&recording.spec),
        attempts_together_(recording.attempts_together),
        request_timeout_seconds_(recording.request_timeout_seconds),
        edges_(EdgesOf(recording)) {
    state_.evidence.dispersion = recording.dispersion;
  }

  ReplayedTick Play(const RecordedTick& tick);

 private:
  [[nodiscard]] bool IsBehind(const RecordedTick& tick) const;
  [[nodiscard]] Observation Obedient(const RecordedTick& tick) const;
  void Look(const RecordedTick& tick);
  void HoldBack(const RecordedTick& tick, const Observation& seen);
  void CatchUp(const RecordedTick& tick);
  void FixMetrics();
  [[nodiscard]] Observation Seen(const RecordedTick& tick);
  rollout::Verdict Decide(const Observation& seen);

  const Recording& recording_;
  const rollout::Spec* spec_;  // the recording's, or that of one of its ticks
  double attempts_together_;
  double request_timeout_seconds_;
  const std::vector<double> edges_;
  State state_;
  std::uint64_t moves_ = 0;
  std::vector<Decision> decisions_;  // since the last tick
};

bool AwaitsCanary(const RecordedTick& tick) { return tick.weight_percent == 0.0 && !tick.ready; }

bool SamePercent(double a, double b) {
  constexpr double kHalfHundredth = 0.005;
  return std::abs(a - b) < kHalfHundredth;
}

// A mesh that already is as the state wants it.
Observation Player::Obedient(const RecordedTick& tick) const {
  Observation seen;
  const bool promoted = state_.phase == rollout::Phase::kSucceeded;
  const double wanted = state_.wanted.canary_percent;
  seen.splitter = {.canary_percent = wanted,
                   .primary_percent = 100 - tick.other_percent - wanted,
                   .other_percent = tick.other_percent};
  const rollout::Routes routes = state_.wanted.routes;
  if (routes != rollout::Routes::kNone) {
    seen.router = rollout::RouterView{.ours = routes == rollout::Routes::kPlaced
                                                  ? rollout::RoutesSeen::kWhole
                                                  : rollout::RoutesSeen::kNone};
  }
  seen.canary_filter = state_.wanted.canary_filter.value_or("");
  seen.primary_filter =
      state_.wanted.primary_filter.value_or(rollout::FilterForVersion(*spec_, kPrimaryVersion));
  seen.instances_known = true;
  seen.versions = {{kPrimaryVersion, 1, 1}, {kCanaryVersion, 1, 2}};
  // Who owns the primary of an external promotion is no part of a recording: the turn is taken.
  const bool by_owner = state_.stage == Stage::kPrimaryFilter && !rollout::WritesFilters(*spec_);
  seen.primary_versions = {promoted || by_owner ? kCanaryVersion : kPrimaryVersion};
  seen.canary_versions = {kCanaryVersion};
  seen.canary_passing = 1;
  seen.primary_passing = 1;
  // Whatever is waited for has moved since the last look.
  seen.callers = {{.id = "recording",
                   .fresh = true,
                   .canary_healthy = 1,
                   .canary_changes = moves_,
                   .primary_healthy = 1,
                   .primary_changes = moves_,
                   .route_reloads = moves_}};
  seen.shield = tick.shield;
  seen.attempts_together = attempts_together_;
  seen.request_timeout_seconds = request_timeout_seconds_;
  seen.primary_history = recording_.primary_history;
  seen.primary_latency_history =
      recording_.primary_latency_history.value_or(stats::LatencyCounts{});
  return seen;
}

// Whether the mesh, left to itself, goes on before this line: it takes what was wanted within
// milliseconds. That the canary is ready may be told by the line itself, which then finds the
// rollout waiting for it.
bool Player::IsBehind(const RecordedTick& tick) const {
  if (state_.decisions == 0) return true;
  if (!IsActive(state_.phase)) return false;
  if (state_.stage == Stage::kPreparing) {
    return tick.ready ? !state_.wanted.canary_filter : !AwaitsCanary(tick);
  }
  return state_.stage == Stage::kStepping && !state_.confirmed && tick.confirmed.value_or(true);
}

// The caller still has the route that it had when the weight was decided.
void Player::HoldBack(const RecordedTick& tick, const Observation& seen) {
  const rollout::CallerFacts& caller = seen.callers.front();
  if (!tick.applied) state_.reload_baseline[caller.id] = *caller.route_reloads;
}

// A look between two lines: the mesh did what was wanted then, whatever has become of it since.
void Player::Look(const RecordedTick& tick) {
  ++moves_;
  Observation seen = Obedient(tick);
  HoldBack(tick, seen);
  if (AwaitsCanary(tick) || tick.ready) seen.callers.front().canary_healthy = 0;
  const bool by_hand = spec_->start == rollout::StartMode::kManual;
  if (state_.decisions == 0 && (by_hand || !recording_.started_by.empty())) {
    seen.orders = {{.sequence = 1,
                    .kind = rollout::OrderKind::kStart,
                    .by = recording_.started_by.empty() ? "recording" : recording_.started_by}};
  }
  (void)Decide(seen);
}

// Without a history there is nothing from which the judge could choose: what has data is watched.
void Player::FixMetrics() {
  rollout::Evidence& evidence = state_.evidence;
  if (recording_.primary_latency_history || evidence.metrics_fixed) return;
  evidence.metrics_fixed = true;
  evidence.latency.clear();
  for (const double edge : edges_) {
    evidence.latency.push_back({.edge_seconds = edge, .harm = stats::StartHarm({})});
  }
  evidence.late_after_seconds = recording_.late_after_seconds;
}

// Where the mesh is not as wanted.
void AddDifferences(const RecordedTick& tick, Observation& seen) {
  if (tick.splitter) {
    seen.splitter->canary_percent = tick.splitter->canary_percent;
    seen.splitter->primary_percent = tick.splitter->primary_percent;
  }
  if (tick.routes) {
    seen.router = rollout::RouterView{.ours = *tick.routes};
    seen.entries_known = tick.unknown.empty();
  }
  if (tick.canary_filter) seen.canary_filter = tick.canary_filter;
  if (tick.primary_filter) seen.primary_filter = tick.primary_filter;
  seen.fenced = tick.fenced;
  seen.unknown = tick.unknown;
  seen.fleet_pause = tick.fleet_pause;
  seen.splitter_unwritable = tick.splitter_unwritable;
  seen.router_unwritable = tick.router_unwritable;
  seen.resolver_unwritable = tick.resolver_unwritable;
  seen.doubtful = tick.doubtful;
  seen.instances_known = tick.instances_known;
  seen.canary_passing = tick.canary_passing;
  seen.primary_passing = tick.primary_passing;
}

Observation Player::Seen(const RecordedTick& tick) {
  ++moves_;
  Observation seen = Obedient(tick);
  seen.wall_seconds = tick.t;
  seen.elapsed_seconds = tick.elapsed_seconds;
  seen.unruled_seconds = tick.unruled_seconds;
  AddDifferences(tick, seen);
  seen.counts_known = !tick.look;
  seen.counts = tick.counts;
  if (!tick.splitter && tick.weight_percent &&
      !SamePercent(*tick.weight_percent, state_.wanted.canary_percent)) {
    seen.routed_percent = tick.weight_percent;
  }
  rollout::CallerFacts& caller = seen.callers.front();
  caller.canary_healthy = AwaitsCanary(tick) ? 0 : static_cast<std::uint64_t>(tick.canary_passing);
  caller.canary_ejected = tick.ejections;
  caller.fresh = tick.age_seconds <= kFreshSeconds;
  if (!caller.fresh) caller.trouble = fmt::format("last read {:g} s ago", tick.age_seconds);
  HoldBack(tick, seen);
  std::uint64_t sequence = state_.last_order;
  for (rollout::Order order : tick.orders) {
    order.sequence = ++sequence;
    order.version.clear();  // of all the versions there are, a recording knows the canary's alone
    seen.orders.push_back(std::move(order));
  }
  return seen;
}

rollout::Verdict Player::Decide(const Observation& seen) {
  rollout::Outcome outcome = rollout::Decide(*spec_, std::move(state_), seen);
  state_ = std::move(outcome.state);
  std::ranges::move(outcome.decisions, std::back_inserter(decisions_));
  return std::move(outcome.verdict);
}

// Brings the rollout to where it was when the line was written.
void Player::CatchUp(const RecordedTick& tick) {
  constexpr int kMostLooks = 10;
  if (tick.restarted) ForgetUnstored(state_.evidence);
  if (tick.spec) spec_ = &*tick.spec;
  attempts_together_ = tick.attempts_together.value_or(attempts_together_);
  request_timeout_seconds_ = tick.request_timeout_seconds.value_or(request_timeout_seconds_);
  for (int look = 0; look < kMostLooks && IsBehind(tick); ++look) Look(tick);
  if (!tick.confirmed.value_or(false) || state_.confirmed) return;
  state_.confirmed = true;
  state_.confirmed_seconds = 0;
  state_.settled_percent = state_.wanted.canary_percent;
}

ReplayedTick Player::Play(const RecordedTick& tick) {
  CatchUp(tick);
  FixMetrics();
  const rollout::Verdict verdict = Decide(Seen(tick));
  const bool stepping = IsActive(state_.phase) && state_.stage == Stage::kStepping;
  return {.t = tick.t,
          .look = tick.look,
          .verdict = verdict,
          .phase = state_.phase,
          .step = stepping ? state_.step + 1 : 0,
          .weight_percent = state_.wanted.canary_percent,
          .reason = state_.reason,
          .decisions = std::exchange(decisions_, {})};
}

// --- text

Json ToJson(const stats::Interval& interval) {
  return Json::array({interval.lower, interval.estimate, interval.upper});
}

Json MetricsToJson(const rollout::Verdict& verdict) {
  Json metrics = Json::object();
  for (const rollout::MetricVerdict& metric : verdict.metrics) {
    Json& own = metrics[metric.name] = Json::object();
    if (metric.log_harm) own["log_harm"] = *metric.log_harm;
    if (metric.log_safe) own["log_safe"] = *metric.log_safe;
    if (metric.weight > 0) own["weight"] = metric.weight;
  }
  return metrics;
}

Json BlamedToJson(const rollout::Verdict& verdict) {
  Json blamed = Json::array();
  for (const rollout::MetricVerdict& metric : verdict.metrics) {
    if (metric.blamed) blamed.push_back(metric.name);
  }
  return blamed;
}

Json DecisionsToJson(const std::vector<Decision>& decisions) {
  Json json = Json::array();
  for (const Decision& decision : decisions) {
    json.push_back({{"action", decision.action},
                    {"cause", decision.cause},
                    {"to", ToString(decision.to)},
                    {"weight", decision.weight_percent},
                    {"reason", decision.reason}});
  }
  return json;
}

Json ToJson(const ReplayedTick& tick) {
  const rollout::Verdict& verdict = tick.verdict;
  const auto share = verdict.observed_share;
  Json json{{"t", tick.t},
            {"log_harm", verdict.log_harm},
            {"log_safe", verdict.log_safe},
            {"metrics", MetricsToJson(verdict)},
            {"blamed", BlamedToJson(verdict)},
            {"harm_bound", verdict.harm_bound},
            {"safe_bound", verdict.safe_bound},
            {"overdispersion", verdict.overdispersion},
            {"observed_share", share ? Json(*share) : Json(nullptr)},
            {"difference", ToJson(verdict.difference)},
            {"rate_ratio", ToJson(verdict.rate_ratio)},
            {"notes", verdict.notes},
            {"verdict", ToString(verdict.kind)},
            {"phase", ToString(tick.phase)},
            {"step", tick.step},
            {"weight", tick.weight_percent},
            {"reason", tick.reason},
            {"decisions", DecisionsToJson(tick.decisions)}};
  if (tick.look) json["look"] = true;
  return json;
}

}  // namespace

std::vector<ReplayedTick> Replay(const Recording& recording) {
  Player player(recording);
  std::vector<ReplayedTick> replayed;
  replayed.reserve(recording.ticks.size());
  for (const RecordedTick& tick : recording.ticks) replayed.push_back(player.Play(tick));
  return replayed;
}

std::string ReplayTable(const std::vector<ReplayedTick>& ticks) {
  std::string text =
      fmt::format("{:>8} {:>10} {:>10} {:<9} {:<12} {:>4} {:>7}  {}\n", "t", "log_harm", "log_safe",
                  "verdict", "phase", "step", "weight", "reason");
  for (const ReplayedTick& tick : ticks) {
    text += fmt::format("{:>8g} {:>10.4f} {:>10.4f} {:<9} {:<12} {:>4} {:>6g}%  {}\n", tick.t,
                        tick.verdict.log_harm, tick.verdict.log_safe, ToString(tick.verdict.kind),
                        ToString(tick.phase), tick.step, tick.weight_percent, tick.reason);
  }
  return text;
}

std::string ReplayJson(const std::vector<ReplayedTick>& ticks) {
  std::string text;
  for (const ReplayedTick& tick : ticks) {
    text += ToJson(tick).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return text;
}

}  // namespace consul_canary::cli
