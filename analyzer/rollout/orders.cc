// What people and Alertmanager ask for.
#include <fmt/format.h>

#include <algorithm>

#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

bool CanRollBack(Phase phase) { return IsActive(phase) && phase != Phase::kRollingBack; }

void Refuse(Transition& t, const Order& order, const std::string& why, std::string_view cause) {
  const std::string before = t.state.reason;
  t.Log(t.state.phase, "refuse", cause,
        fmt::format("{} by {} not carried out: {}", ToString(order.kind), order.by, why));
  t.state.reason = before;
}

void Refuse(Transition& t, const Order& order, const std::string& why) {
  Refuse(t, order, why, ToString(order.kind));
}

void Start(Transition& t, const Order& order) {
  if (IsActive(t.state.phase)) return Refuse(t, order, "a rollout is under way; abort it first");
  if (const std::string obstacle = StartObstacle(t); !obstacle.empty()) {
    return Refuse(t, order, obstacle);
  }
  std::string version = order.version;
  if (version.empty()) version = Candidate(t, true);
  const auto is_it = [&version](const VersionSeen& seen) { return seen.version == version; };
  if (version.empty()) return Refuse(t, order, "no passing instance has another version");
  if (version == t.seen.primary_versions.front()) {
    return Refuse(t, order, fmt::format("version {} is the primary already", version));
  }
  if (std::none_of(t.seen.versions.begin(), t.seen.versions.end(), is_it)) {
    return Refuse(t, order,
                  fmt::format("no passing instance has version {}{}", version,
                              t.spec.maintenance_on_rollback
                                  ? "; where its rollback has put it into maintenance mode, end "
                                    "that first: consul maint -disable -service=ID"
                                  : ""));
  }
  std::erase(t.state.rolled_back_versions, version);
  Begin(t, version, "order", order.by);
}

void Retry(Transition& t, const Order& order) {
  if (t.state.phase != Phase::kRolledBack) {
    return Refuse(t, order, "only a rolled-back rollout can be tried again");
  }
  Order again = order;
  again.version = t.state.canary_version;
  Start(t, again);
}

void Pause(Transition& t, const Order& order) {
  if (t.state.phase != Phase::kProgressing) return Refuse(t, order, "nothing is progressing");
  t.state.phase = Phase::kPaused;
  t.Log(Phase::kProgressing, "pause", "order", "paused by " + order.by);
}

void Resume(Transition& t, const Order& order) {
  State& state = t.state;
  if (state.foreign_edit && !t.seen.splitter) {
    return Refuse(t, order, "there is no splitter to write over; make it anew, or abort");
  }
  if (const std::string why = Unwritable(t);
      (state.foreign_edit || state.foreign_routes) && !why.empty()) {
    return Refuse(t, order, why);
  }
  const bool routes = OverwriteRoutes(t);
  if (routes && !state.foreign_edit) {
    return t.Log(
        state.phase, "resume", "order",
        fmt::format("{} lets the rollout write the routes of strategy.match again", order.by));
  }
  if (state.foreign_edit) {
    // The weight that stands there counts as ours from now on, so that the wanted one is written
    // over it.
    state.foreign_edit = false;
    state.settled_percent = t.seen.splitter->canary_percent;
    state.confirmed = false;
    AwaitReload(t);
    return t.Log(state.phase, "resume", "order",
                 fmt::format("{} lets the rollout overwrite the foreign weights", order.by));
  }
  if (state.phase != Phase::kPaused) return Refuse(t, order, "nothing is paused");
  if (IsKept(t)) return Refuse(t, order, "`promote: none` keeps the last step");
  if (state.proven_wait && t.spec.act) {
    if (const std::string obstacle = TrafficObstacle(t); !obstacle.empty()) {
      return Refuse(t, order, obstacle);
    }
    return AdvanceStep(t, "order", "released by " + order.by);
  }
  state.phase = Phase::kProgressing;
  t.Log(Phase::kPaused, "resume", "order", "resumed by " + order.by);
}

void Promote(Transition& t, const Order& order) {
  const State& state = t.state;
  if (!t.spec.act && IsActive(state.phase)) {
    return Refuse(t, order, "`act: false` writes no weights; whoever writes them may advance");
  }
  const bool steps = (state.phase == Phase::kProgressing || state.phase == Phase::kPaused) &&
                     state.stage == Stage::kStepping;
  const bool watching = state.phase == Phase::kPromoting && state.stage == Stage::kWatching;
  if (!steps && !watching) {
    return Refuse(t, order, "no step is under way");
  }
  if (const std::string obstacle = TrafficObstacle(t); !obstacle.empty()) {
    return Refuse(t, order, obstacle);
  }
  if (IsKept(t)) return Refuse(t, order, "`promote: none` keeps the last step");
  const std::string reason = fmt::format("by order of {}: {}", order.by, Figures(t));
  if (watching) return TakePrimary(t, "order", reason);
  if (order.full) return BeginPromotion(t, "order", reason);
  AdvanceStep(t, "order", reason);
}

void Abort(Transition& t, const Order& order) {
  if (!CanRollBack(t.state.phase)) return Refuse(t, order, "no rollout is under way");
  RollBack(t, "order", "aborted by " + order.by);
}

// At-least-once delivery: an alert that was handled, is older than the rollout or finds nothing to
// roll back is a no-op.
void RollbackAlert(Transition& t, const Order& order) {
  State& state = t.state;
  auto& handled = state.handled_alerts;
  if (std::find(handled.begin(), handled.end(), order.alert_key) != handled.end()) return;
  if (!CanRollBack(state.phase)) return Refuse(t, order, "no rollout is under way");
  if (order.alert_started_wall_seconds < state.started_wall_seconds) {
    return Refuse(t, order, "the alert began before this rollout did: " + order.alert);
  }
  handled.push_back(order.alert_key);
  RollBack(t, "alert", "alert " + order.alert);
}

bool MayWiden(OrderKind kind) {
  return kind == OrderKind::kStart || kind == OrderKind::kResume || kind == OrderKind::kPromote ||
         kind == OrderKind::kRetry;
}

// Sent for an earlier stage than the one it meets: twice, since the first answer got lost, or while
// the rollout moved on. What its sender has not seen he has not meant.
bool IsOutdated(const Transition& t, const Order& order) {
  return order.seen_decisions && *order.seen_decisions < t.state.stage_decision &&
         MayWiden(order.kind);
}

void Take(Transition& t, const Order& order) {
  if (IsOutdated(t, order)) {
    return Refuse(t, order,
                  order.kind == OrderKind::kPromote ? "the step has passed already"
                                                    : "the rollout has moved on since it was sent",
                  "outdated");
  }
  switch (order.kind) {
    case OrderKind::kStart:
      return Start(t, order);
    case OrderKind::kPause:
      return Pause(t, order);
    case OrderKind::kResume:
      return Resume(t, order);
    case OrderKind::kPromote:
      return Promote(t, order);
    case OrderKind::kAbort:
      return Abort(t, order);
    case OrderKind::kRetry:
      return Retry(t, order);
    case OrderKind::kRollbackAlert:
      return RollbackAlert(t, order);
  }
}

}  // namespace

void TakeOrders(Transition& t) {
  for (const Order& order : t.seen.orders) {
    if (order.sequence <= t.state.last_order) continue;
    t.order = order.sequence;
    Take(t, order);
    t.order = 0;
    t.state.last_order = order.sequence;
  }
}

}  // namespace consul_canary::rollout
