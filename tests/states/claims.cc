#include "tests/states/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace consul_canary::states {
namespace {

using rollout::Decision;
using rollout::Observation;
using rollout::Order;
using rollout::OrderKind;
using rollout::Phase;
using rollout::Stage;
using rollout::State;
using rollout::Write;

constexpr double kPercent = 100;

using Broken = std::vector<std::string>;

void Claim(Broken& broken, bool holds, std::string otherwise) {
  if (!holds) broken.push_back(std::move(otherwise));
}

std::vector<Order> NewOrders(const Look& look) {
  std::vector<Order> fresh;
  for (const Order& order : look.seen.orders) {
    if (order.sequence > look.before.last_order) fresh.push_back(order);
  }
  return fresh;
}

bool Ordered(const Look& look, OrderKind kind) {
  return std::ranges::any_of(NewOrders(look),
                             [kind](const Order& order) { return order.kind == kind; });
}

void CheckSums(const Model& model, Broken& broken) {
  if (const auto& splitter = model.truth.splitter) {
    Claim(broken, splitter->canary_percent + splitter->primary_percent == kPercent,
          "the splitter's weights do not sum to 100");
  }
  const double wanted = model.memory.wanted.canary_percent;
  bool known = wanted == 0 || wanted == kPercent;
  for (const rollout::Spec* spec : {model.spec, model.changed}) {
    for (const auto& step : spec->steps) known = known || wanted == step.weight_percent;
  }
  Claim(broken, known, fmt::format("{:g}% is no step's weight", wanted));
}

// What may not be so in a look after which the canary shall have more.
void CheckRise(const Model& model, const Look& look, Broken& broken) {
  const State& after = look.outcome.state;
  const Observation& seen = look.seen;
  const auto has_routes = [](const State& state) {
    return state.wanted.routes == rollout::Routes::kPlaced;
  };
  const bool gets_matched = has_routes(after) && !has_routes(look.before);
  if (after.wanted.canary_percent <= look.before.wanted.canary_percent && !gets_matched) return;
  const auto claim = [&](bool holds, std::string_view why) {
    Claim(broken, holds, fmt::format("the canary's traffic rises {}", why));
  };
  claim(!look.outcome.decisions.empty(), "without a decision");
  claim(seen.unknown.empty(), "while Consul is not known");
  claim(seen.splitter.has_value(), "without a splitter");
  claim(seen.instances_known, "while the instances are not known");
  claim(!seen.doubtful, "in doubt");
  claim(seen.canary_passing > 0, "with no instance of the canary");
  claim(seen.canary_filter == FilterForVersion(*model.spec, after.canary_version),
        "while the canary subset holds another version");
  const double weight = seen.splitter ? seen.splitter->canary_percent : 0;
  claim(weight == look.before.settled_percent || weight == look.before.wanted.canary_percent ||
            Ordered(look, OrderKind::kResume),
        "over weights that someone else has set");
  claim(!seen.callers.empty(), "without callers");
  claim(std::ranges::all_of(seen.callers, &rollout::CallerFacts::fresh), "on a caller's old facts");
}

// What the callers did when they were looked at; the model has let them follow since.
void CheckSidecars(const Look& look, Broken& broken) {
  const State& after = look.outcome.state;
  const bool begins = look.before.stage == Stage::kPreparing && after.stage == Stage::kStepping;
  const bool takes_back =
      look.before.stage == Stage::kPrimaryFilter && after.stage == Stage::kPrimaryFull;
  for (const Caller& caller : look.callers) {
    if (!caller.passing) continue;
    Claim(broken, !begins || caller.canary_members == after.canary_version,
          fmt::format("the first weight is given while {} routes the canary to '{}'", caller.id,
                      caller.canary_members));
    Claim(broken, !takes_back || caller.primary_members == after.canary_version,
          fmt::format("the primary gets its traffic while {} routes it to '{}'", caller.id,
                      caller.primary_members));
    const bool left_weight = look.before.stage != after.stage || look.before.step < after.step;
    const bool by_itself = NewOrders(look).empty() && after.phase != Phase::kRollingBack &&
                           look.outcome.decisions.size() == 1 &&
                           look.outcome.decisions.front().action != "start";
    Claim(broken,
          !left_weight || !by_itself || look.before.stage == Stage::kNone ||
              std::abs(caller.applied_percent - look.before.wanted.canary_percent) < 0.01,
          fmt::format("stage {} ends while {} applies {:g}%", ToString(look.before.stage),
                      caller.id, caller.applied_percent));
    // Where weight and routes change together, a sidecar's counter tells of either.
    Claim(broken,
          !left_weight || !by_itself || look.before.wanted.routes != rollout::Routes::kPlaced ||
              caller.has_routes,
          fmt::format("a step ends while {} does not have the routes", caller.id));
  }
}

void CheckLog(const Look& look, Broken& broken) {
  Phase phase = look.before.phase;
  std::uint64_t sequence = look.before.decisions;
  for (const Decision& decision : look.outcome.decisions) {
    Claim(broken, decision.sequence == ++sequence, "a decision's number is not the next one");
    Claim(broken, !decision.reason.empty(), "a decision without a reason: " + decision.action);
    Claim(broken, decision.from == phase,
          fmt::format("a decision leaves {} where the rollout is {}", ToString(decision.from),
                      ToString(phase)));
    phase = decision.to;
  }
  Claim(broken, phase == look.outcome.state.phase,
        fmt::format("the phase becomes {} without a decision", ToString(look.outcome.state.phase)));
  Claim(broken, sequence == look.outcome.state.decisions, "decisions are counted wrongly");
}

// The orders' kinds as the decisions have them, refused or carried out; alerts that were handled
// before are silent.
void CheckOrders(const Model& model, const Look& look, Broken& broken) {
  const std::vector<Order> fresh = NewOrders(look);
  if (!fresh.empty()) {
    Claim(broken, look.outcome.state.last_order == fresh.back().sequence, "an order is not taken");
  }
  std::size_t answered = 0;
  std::vector<std::string> refused;
  for (const Decision& decision : look.outcome.decisions) {
    answered +=
        decision.cause == "order" || decision.cause == "alert" || decision.action == "refuse";
    if (decision.action == "refuse") refused.push_back(decision.cause);
  }
  const auto silent = std::ranges::count_if(fresh, [&](const Order& order) {
    return order.kind == OrderKind::kRollbackAlert &&
           std::ranges::find(look.before.handled_alerts, order.alert_key) !=
               look.before.handled_alerts.end();
  });
  // A start forgets them.
  Claim(broken,
        answered <= fresh.size() && answered + static_cast<std::size_t>(silent) >= fresh.size(),
        fmt::format("{} orders get {} answers", fresh.size(), answered));
  auto next = refused.begin();
  for (const Order& order : fresh) next += next != refused.end() && *next == ToString(order.kind);
  Claim(broken, next == refused.end(), "orders are answered in another order");
  if (fresh.size() == look.seen.orders.size()) return;
  // What was taken is never taken again.
  Observation without = look.seen;
  without.orders = fresh;
  const rollout::Spec& given = look.former ? *look.former : *model.spec;
  Claim(broken, Decide(given, look.before, without) == look.outcome,
        "an order that was taken before still has an effect");
}

// All traffic at the canary, and nothing else left that could serve it.
bool IsStranded(const Look& look) {
  const bool is_full =
      look.before.stage == Stage::kCanaryFull || look.before.stage == Stage::kWatching;
  return is_full && look.seen.instances_known && look.seen.primary_passing == 0;
}

// No hold is in the way of a rollback.
void CheckRollback(const Look& look, Broken& broken) {
  const State& before = look.before;
  if (!IsActive(before.phase)) return;
  const Phase after = look.outcome.state.phase;
  const bool is_back = after == Phase::kRollingBack || after == Phase::kRolledBack;
  Claim(broken,
        is_back || !Ordered(look, OrderKind::kAbort) ||
            std::ranges::any_of(look.outcome.decisions,
                                [](const Decision& d) { return d.to == Phase::kRollingBack; }),
        "an abort does not roll back");
  if (look.outcome.verdict.kind != rollout::VerdictKind::kHarm || !NewOrders(look).empty()) return;
  Claim(
      broken, is_back != IsStranded(look),
      is_back ? "harm takes all traffic to a subset without instances" : "harm does not roll back");
  Claim(broken, is_back || look.outcome.state.stage == before.stage,
        "a harmful canary goes on to the next stage");
}

void CheckPuts(const Model& model, const Look& look, Broken& broken) {
  for (const Put& put : look.puts) {
    const rollout::Wanted& stored = look.stored.wanted;
    const auto& filter =
        put.what == Write::kCanaryFilter ? stored.canary_filter : stored.primary_filter;
    const bool puts_routes = put.router && put.router->ours == rollout::RoutesSeen::kWhole;
    const bool wants_routes = stored.routes == rollout::Routes::kPlaced;
    bool recorded = filter == put.filter;
    if (put.what == Write::kSplitter) recorded = put.canary_percent == stored.canary_percent;
    if (put.what == Write::kRoutes) recorded = !puts_routes || wants_routes;
    // Where a commit got no answer, the analyzer goes on from before it, until its next one is
    // refused.
    Claim(broken, recorded || model.memory_outdated, "what is written was not recorded before");
    if (put.what == Write::kRoutes) {
      Claim(broken,
            !puts_routes || look.seen.router->ours == rollout::RoutesSeen::kWhole ||
                (look.seen.unknown.empty() && look.seen.instances_known &&
                 look.seen.canary_passing > 0),
            "matched requests are led to a canary that is not known to serve them");
      Claim(broken,
            !look.outcome.state.foreign_routes || look.outcome.state.phase == Phase::kRollingBack,
            "a foreign edit of the routes is written over");
    }
    if (put.what != Write::kSplitter) continue;
    const bool rises = put.canary_percent > look.seen.splitter->canary_percent;
    Claim(broken,
          !rises || (look.seen.unknown.empty() && look.seen.instances_known &&
                     look.seen.canary_passing > 0),
          "more is written for the canary than is known to be served");
    Claim(broken,
          !look.outcome.state.foreign_edit || look.outcome.state.phase == Phase::kRollingBack,
          "foreign weights are written over");
  }
}

void CheckEnd(const Model& model, const Look& look, Broken& broken) {
  const Phase after = look.outcome.state.phase;
  if (IsActive(after) || !IsActive(look.before.phase) || !look.committed) return;
  const std::string end(ToString(after));
  const auto may_arrive = [&](const Put& put) {
    if (put.what == Write::kRoutes) {
      return put.cas_index != 0 && model.truth.router && put.cas_index == model.truth.router->index;
    }
    return put.what == Write::kSplitter
               ? model.truth.splitter && put.cas_index == model.truth.splitter->index
               : put.cas_index == model.truth.resolver.index && put.what == Write::kPrimaryFilter;
  };
  Claim(broken, std::ranges::none_of(model.in_flight, may_arrive),
        end + " while a write from before can still change the traffic");
  if (!model.IsWhole()) return;
  // Where somebody has deleted the splitter there is nothing to take back.
  const bool traffic_back = model.truth.splitter ? model.truth.splitter->primary_percent == kPercent
                                                 : after == Phase::kRolledBack;
  Claim(broken, traffic_back, end + " without all traffic at the primary");
  if (const auto& router = model.truth.router) {
    Claim(broken, router->ours == rollout::RoutesSeen::kNone,
          end + " with routes to the canary left in the router");
    Claim(broken, router->owners, end + " with the router left that was made for the routes");
  }
  const std::string& filter = model.truth.resolver.primary_filter;
  if (after == Phase::kSucceeded) {
    Claim(broken, filter == FilterForVersion(*model.spec, look.outcome.state.canary_version),
          "succeeded with another version as the primary");
  } else if (model.ledger.primary_filter) {
    Claim(broken, filter == *model.ledger.primary_filter,
          "rolled back with the primary's filter not as before");
  }
}

}  // namespace

std::vector<std::string> BrokenClaims(const Model& model) {
  Broken broken = model.ledger.broken;
  CheckSums(model, broken);
  if (!model.last) return broken;
  const Look& look = *model.last;
  CheckRise(model, look, broken);
  CheckSidecars(look, broken);
  CheckLog(look, broken);
  CheckOrders(model, look, broken);
  CheckRollback(look, broken);
  CheckPuts(model, look, broken);
  CheckEnd(model, look, broken);
  return broken;
}

}  // namespace consul_canary::states
