#include "tests/unit/rollout/world.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace consul_canary::rollout {

World::World() {
  spec.service = "api";
  spec.subset_filter = "is {{version}}";
  spec.steps = {{.weight_percent = 10}, {.weight_percent = 50}};
  spec.warmup = Seconds(2);
  seen.wall_seconds = 1000;
  seen.splitter = SplitterView{};
  seen.primary_filter = "is v1";
  seen.canary_filter = "is none";
  seen.instances_known = true;
  seen.primary_history = {100000, 100};
  seen.request_timeout_seconds = 0;  // all that fails fails at once
  seen.callers = {{.id = "web", .fresh = true, .primary_healthy = 1, .route_reloads = 1}};
  Deploy("v1");
}

void World::Deploy(const std::string& version) {
  seen.versions.push_back({version, 1, ++last_index_});
  CountSubsets();
}

int World::PassingOf(const std::string& filter) const {
  int passing = 0;
  for (const VersionSeen& version : seen.versions) {
    if (filter == "is " + version.version) passing += version.passing;
  }
  return passing;
}

std::vector<std::string> World::VersionsOf(const std::string& filter) const {
  std::vector<std::string> versions;
  for (const VersionSeen& version : seen.versions) {
    if (filter == "is " + version.version && version.passing > 0) {
      versions.push_back(version.version);
    }
  }
  return versions;
}

void World::Remove(const std::string& version) {
  std::erase_if(seen.versions, [&version](const VersionSeen& v) { return v.version == version; });
  CountSubsets();
}

void World::EditFilters(const std::string& primary, const std::string& canary) {
  seen.primary_filter = "is " + primary;
  seen.canary_filter = "is " + canary;
  CountSubsets();
  CallersFollow();
}

void World::CountSubsets() {
  seen.primary_passing = PassingOf(*seen.primary_filter);
  seen.canary_passing = PassingOf(*seen.canary_filter);
  seen.primary_versions = VersionsOf(*seen.primary_filter);
  seen.canary_versions = VersionsOf(*seen.canary_filter);
}

void World::CallersFollow() {
  for (CallerFacts& caller : seen.callers) {
    if (caller.applied_canary_percent)
      caller.applied_canary_percent = seen.splitter->canary_percent;
    if (caller.route_reloads) ++*caller.route_reloads;
    caller.canary_healthy = static_cast<std::uint64_t>(seen.canary_passing);
    caller.primary_healthy = static_cast<std::uint64_t>(seen.primary_passing);
    ++caller.canary_changes;
    ++caller.primary_changes;
  }
}

void World::PlentyOfTraffic() { plenty_ = true; }

void World::CountPlenty() {
  constexpr double kCanaryRequests = 5000;
  // A caller that lags behind still asks the primary when all traffic is the canary's.
  const double weight = std::clamp(seen.splitter ? seen.splitter->canary_percent : 50.0, 1.0, 99.0);
  const double other = seen.splitter ? seen.splitter->other_percent : 0.0;
  const double primary = kCanaryRequests * std::max(1.0, 100 - other - weight) / weight;
  Traffic({std::llround(primary), 0}, {std::llround(kCanaryRequests), 0});
  plenty_ = true;
}

void World::Traffic(stats::Counts primary, stats::Counts canary) {
  plenty_ = false;
  seen.counts.primary = {.low = primary, .high = primary};
  seen.counts.canary = {.low = canary, .high = canary};
}

void World::See(double elapsed_seconds, bool counts_known) {
  seen.elapsed_seconds = elapsed_seconds;
  seen.wall_seconds += elapsed_seconds;
  seen.counts_known = counts_known;
  if (plenty_) CountPlenty();
  last = Decide(spec, std::move(state), seen);
  state = last.state;
  decisions.insert(decisions.end(), last.decisions.begin(), last.decisions.end());
  seen.orders.clear();
  seen.unruled_seconds = 0;
}

void World::Do(Write write) {
  if (write == Write::kSplitter) {
    seen.splitter->canary_percent = state.wanted.canary_percent;
    seen.splitter->primary_percent =
        100 - seen.splitter->other_percent - state.wanted.canary_percent;
    seen.splitter->epoch = kEpoch;
    writes.push_back(fmt::format("splitter {:g}", state.wanted.canary_percent));
  } else if (write == Write::kRoutes) {
    DoRoutes();
  } else if (write == Write::kCanaryFilter) {
    seen.canary_filter = state.wanted.canary_filter;
    seen.resolver_epoch = kEpoch;
    writes.push_back("canary filter " + *seen.canary_filter);
  } else {
    seen.primary_filter = state.wanted.primary_filter;
    seen.resolver_epoch = kEpoch;
    writes.push_back("primary filter " + *seen.primary_filter);
  }
}

void World::DoRoutes() {
  const Routes wanted = state.wanted.routes;
  const bool made = !seen.router || seen.router->made_for_ours;
  if (seen.router && made && wanted == Routes::kNone) {
    seen.router.reset();
    writes.emplace_back("no router");
    return;
  }
  const bool placed = seen.router && wanted == Routes::kPlaced;
  seen.router = RouterView{.ours = placed ? RoutesSeen::kWhole : RoutesSeen::kNone,
                           .made_for_ours = made,
                           .unnamed = "",
                           .epoch = kEpoch};
  writes.emplace_back(placed ? "routes" : "no routes");
}

void World::EditRoutes(RoutesSeen ours) {
  seen.router->ours = ours;
  CallersFollow();
}

void World::Act() {
  const std::vector<Write> due = DueWrites(state, seen, kEpoch);
  for (const Write write : due) Do(write);
  if (due.empty()) return;
  CountSubsets();
  if (callers_follow) CallersFollow();
}

void World::Look() {
  See(0, false);
  Act();
}

void World::TickWithoutWriting() { See(1, true); }

void World::Tick(int times) {
  for (int i = 0; i < times; ++i) {
    See(1, true);
    Act();
  }
}

void World::Give(OrderKind kind, Order order) {
  order.kind = kind;
  order.sequence = ++last_order_;
  if (order.by.empty()) order.by = "ann";
  seen.orders.push_back(std::move(order));
}

void World::EditSplitter(double canary_percent) {
  seen.splitter->canary_percent = canary_percent;
  seen.splitter->primary_percent = 100 - seen.splitter->other_percent - canary_percent;
}

void World::ReachStep(int step) {
  Deploy("v2");
  constexpr int kMost = 50;
  const auto there = [&] {
    return state.stage == Stage::kStepping && state.step == step && state.confirmed &&
           state.confirmed_seconds >= spec.warmup.count();
  };
  for (int i = 0; i < kMost && !there(); ++i) {
    Traffic(kNothing, kNothing);
    if (state.stage == Stage::kStepping && state.step < step) PlentyOfTraffic();
    Tick();
  }
  Traffic(kNothing, kNothing);
  ASSERT_TRUE(there()) << state.reason;
  ASSERT_EQ(state.phase, Phase::kProgressing);
}

void World::ReachStage(Stage stage) {
  ReachStep(static_cast<int>(spec.steps.size()) - 1);
  PlentyOfTraffic();
  constexpr int kMost = 10;
  for (int i = 0; i < kMost && state.stage != stage; ++i) Tick();
  Traffic(kNothing, kNothing);
  ASSERT_EQ(state.stage, stage) << state.reason;
}

std::vector<std::string> World::Log() const {
  std::vector<std::string> log;
  for (const Decision& decision : decisions) {
    log.push_back(
        fmt::format("{}/{} {:g}", decision.action, decision.cause, decision.weight_percent));
  }
  return log;
}

std::string World::LastDecision() const {
  if (decisions.empty()) return "none";
  return decisions.back().action + "/" + decisions.back().cause;
}

}  // namespace consul_canary::rollout
