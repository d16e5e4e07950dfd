// The routes of `strategy.match` in the service-router: when they shall be there, and what somebody
// else has made of them. They are there while the rollout steps, and at no other time.
#include <fmt/format.h>

#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

RoutesSeen OursIn(const Observation& seen) {
  return seen.router ? seen.router->ours : RoutesSeen::kNone;
}

bool IsLeftOver(const Observation& seen, Routes wanted) {
  return wanted == Routes::kNone && seen.router && seen.router->made_for_ours;
}

}  // namespace

bool IsRouterFenced(const State& state, const Observation& seen, std::uint64_t epoch) {
  const bool has_match = state.spec && !state.spec->match.empty();
  if (!seen.router) return seen.entries_known || !has_match;
  const bool concerns_us = has_match || seen.router->epoch != 0;
  return !concerns_us || seen.router->epoch == epoch;
}

Routes RoutesFor(const Spec& spec, Stage stage) {
  if (spec.match.empty() || !spec.act) return Routes::kNone;
  if (stage == Stage::kPreparing) return Routes::kAwaited;
  return stage == Stage::kStepping ? Routes::kPlaced : Routes::kNone;
}

bool RoutesMove(const Observation& seen, Routes wanted) {
  return OursIn(seen) != (wanted == Routes::kPlaced ? RoutesSeen::kWhole : RoutesSeen::kNone);
}

bool RoutesStand(const Observation& seen, Routes wanted) {
  return !RoutesMove(seen, wanted) && !IsLeftOver(seen, wanted);
}

void ObserveRoutes(Transition& t) {
  State& state = t.state;
  if (!IsActive(state.phase) || !t.spec.act) return;
  const RoutesSeen ours = OursIn(t.seen);
  if (RoutesStand(t.seen, state.wanted.routes)) {
    state.settled_routes = ours;
    if (!state.foreign_routes) return;
    state.foreign_routes = false;
    return t.Log(state.phase, "resume", "foreign-edit",
                 "the service-router holds the routes of strategy.match again");
  }
  // What has been counted meanwhile is not the traffic that the step is about.
  state.confirmed = false;
  // Where they are to go, they go, whoever has changed them. What is read late is no edit.
  const bool awaits_write = ours == state.settled_routes;
  if (state.wanted.routes != Routes::kPlaced || awaits_write || !t.seen.entries_known) return;
  if (state.foreign_routes) return;
  state.foreign_routes = true;
  t.Log(state.phase, "hold", "foreign-edit",
        fmt::format("the routes of strategy.match were {} in the service-router by someone else; "
                    "nothing is written over that: put them back before all other routes, or "
                    "`resume` to have them written, or `abort`",
                    ours == RoutesSeen::kNone ? "taken out" : "moved or changed"));
}

bool OverwriteRoutes(Transition& t) {
  State& state = t.state;
  if (!state.foreign_routes) return false;
  state.foreign_routes = false;
  state.settled_routes = OursIn(t.seen);
  state.confirmed = false;
  AwaitReload(t);
  return true;
}

std::string RoutesTrouble(const Transition& t) {
  if (!t.spec.act || RoutesStand(t.seen, t.state.wanted.routes)) return "";
  return t.state.wanted.routes == Routes::kPlaced
             ? "the service-router does not hold the routes of strategy.match yet"
             : "the routes of strategy.match are still in the service-router";
}

}  // namespace consul_canary::rollout
