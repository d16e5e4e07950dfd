#include "tests/states/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "analyzer/control/managed.h"
#include "analyzer/control/stored_json.h"

namespace consul_canary::states {
namespace {

using rollout::CallerFacts;
using rollout::Observation;
using rollout::Order;
using rollout::State;
using rollout::Write;

// Shorter than the loop's, in proportion to the deadlines of the specifications here.
constexpr int kUnsureTicks = 3;
constexpr int kUnsettledTicks = 2;
constexpr int kDoubtfulTicks = 2;
constexpr double kPercent = 100;
constexpr double kMatchedShare = 0.1;  // of the requests, where there is a match

stats::Counts Answered(double requests, bool fail) {
  const auto completed = std::llround(requests);
  return {completed, fail ? completed : 0};
}

}  // namespace

Model::Model(const rollout::Spec& rules, const rollout::Spec& changed_rules)
    : spec(&rules), changed(&changed_rules) {
  callers = {{.id = "web", .tells_weight = true, .read = {.id = "web"}},
             {.id = "shop", .read = {.id = "shop"}}};
  Deploy("v1");
  view = truth;
}

std::string Model::MembersOf(const std::string& filter) const {
  std::string members;
  for (const Instance& instance : instances) {
    if (instance.passing && filter == "is " + instance.version) members = instance.version;
  }
  return members;
}

bool Model::HasRoutes() const {
  return truth.router && truth.router->ours == rollout::RoutesSeen::kWhole;
}

bool Model::IsWhole() const {
  return !consul_away && !view_lags && view.splitter == truth.splitter &&
         view.resolver == truth.resolver && view.router == truth.router;
}

// --- the world
// -------------------------------------------------------------------------------------------------

void Model::Deploy(const std::string& version) {
  instances.push_back({version, true, instances.size() + 1});
  Spread();
}

void Model::SetPassing(const std::string& version, bool passing) {
  for (Instance& instance : instances) {
    if (instance.version == version) instance.passing = passing;
  }
  Spread();
}

void Model::ReturnConsul() {
  consul_away = false;
  unsettled_ticks = kUnsettledTicks;
}

void Model::MakeSplitter() {
  truth.splitter = Splitter{.index = ++last_index};
  Spread();
}

void Model::EditSplitter(double canary_percent) {
  if (!truth.splitter) return;
  truth.splitter->canary_percent = canary_percent;
  truth.splitter->primary_percent = kPercent - canary_percent;
  truth.splitter->index = ++last_index;
  Spread();
}

void Model::EditRouter(std::optional<Router> router) {
  truth.router = router;
  if (router) truth.router->index = ++last_index;
  Spread();
}

void Model::EditFilter(Write which, const std::string& filter) {
  const bool canary = which == Write::kCanaryFilter;
  (canary ? truth.resolver.canary_filter : truth.resolver.primary_filter) = filter;
  truth.resolver.index = ++last_index;
  if (!canary) ledger.primary_filter.reset();
  Spread();
}

void Model::OwnSplitter(bool owned) {
  truth.splitter->owned = owned;
  truth.splitter->index = ++last_index;
}

void Model::OwnResolver(bool owned) {
  truth.resolver.owned = owned;
  truth.resolver.index = ++last_index;
}

void Model::RestartSidecar(Caller& caller) {
  caller.applied_percent = truth.splitter ? truth.splitter->canary_percent : 0;
  caller.has_routes = HasRoutes();
  caller.canary_members = MembersOf(truth.resolver.canary_filter);
  caller.primary_members = MembersOf(truth.resolver.primary_filter);
  caller.reloads = caller.canary_changes = caller.primary_changes = 1;
}

void Model::Spread() {
  for (Caller& caller : callers) {
    if (!caller.follows) continue;
    const double weight = truth.splitter ? truth.splitter->canary_percent : 0;
    const bool reloads = caller.applied_percent != weight || caller.has_routes != HasRoutes();
    if (reloads) ++caller.reloads;
    caller.applied_percent = weight;
    caller.has_routes = HasRoutes();
    const std::string canary = MembersOf(truth.resolver.canary_filter);
    const std::string primary = MembersOf(truth.resolver.primary_filter);
    if (caller.canary_members != canary) ++caller.canary_changes;
    if (caller.primary_members != primary) ++caller.primary_changes;
    caller.canary_members = canary;
    caller.primary_members = primary;
  }
}

void Model::Load() {
  // Through the text that is stored: what it leaves out is lost here as well.
  const auto loaded = control::StateFromJson(control::StateToJson(stored));
  if (loaded) {
    memory = *loaded;
  } else {
    ledger.broken.push_back("the stored state is not read back: " + loaded.error().message);
  }
  memory_outdated = false;
}

void Model::ChangeLead() {
  ++epoch;
  Load();
  replaced_splitter = replaced_resolver = replaced_router = 0;
  unsure_ticks = 0;
}

void Model::LandLateWrite() {
  if (in_flight.empty()) return;
  const Put put = in_flight.front();
  in_flight.erase(in_flight.begin());
  Land(put);
  Spread();
}

void Model::Give(Order order) {
  order.sequence = ++last_order;
  order.by = "ann";
  orders.push_back(std::move(order));
}

// --- the analyzer
// -------------------------------------------------------------------------------------------------

void Model::Tick(Requests requests) {
  for (int* ticks : {&unsettled_ticks, &doubtful_ticks, &unsure_ticks}) *ticks -= *ticks > 0;
  for (Put& put : in_flight) put.ticks_left -= put.epoch == epoch;
  std::erase_if(in_flight,
                [this](const Put& put) { return put.epoch == epoch && put.ticks_left <= 0; });
  Rule(1, requests);
}

void Model::Glance() { Rule(0, Requests::kNone); }

void Model::Rule(double elapsed_seconds, Requests requests) {
  wall_seconds += elapsed_seconds;
  const rollout::Spec* const given =
      unreadable ? control::SpecToRuleBy(std::nullopt, memory) : spec;
  if (given == nullptr) return;
  last.emplace();
  Look& look = *last;
  look.before = memory;
  if (unreadable) look.former = *given;
  look.seen = Observe(elapsed_seconds, requests);
  look.callers = callers;
  look.outcome = rollout::Decide(*given, memory, look.seen);
  if (elapsed_seconds > 0) unruled_seconds = 0;
  if (!Commit(look)) return;
  look.stored = stored;
  look.puts = Prepare(look);
  // As the loop: a write is tried again with the next tick, not with every piece of news.
  if (!look.committed && elapsed_seconds == 0) look.puts.clear();
  for (const Put& put : look.puts) Send(put);
  if (!look.puts.empty()) write_fate = WriteFate::kLands;
  Spread();
}

Observation Model::Observe(double elapsed_seconds, Requests requests) {
  if (!view_lags && !consul_away) view = truth;
  Observation seen;
  seen.wall_seconds = wall_seconds;
  seen.elapsed_seconds = elapsed_seconds;
  if (elapsed_seconds > 0) seen.unruled_seconds = unruled_seconds;
  seen.request_timeout_seconds = 0;  // all that fails fails at once
  seen.primary_history = {100000, 100};
  if (consul_away) seen.unknown = "Consul does not answer";
  if (view.splitter) {
    seen.splitter = rollout::SplitterView{.canary_percent = view.splitter->canary_percent,
                                          .primary_percent = view.splitter->primary_percent,
                                          .epoch = view.splitter->epoch};
  }
  ObserveRouter(seen);
  if (view.splitter && view.splitter->owned) seen.splitter_unwritable = "the splitter is owned";
  if (view.resolver.owned) seen.resolver_unwritable = "the resolver is owned";
  seen.resolver_epoch = view.resolver.epoch;
  seen.canary_filter = view.resolver.canary_filter;
  seen.primary_filter = view.resolver.primary_filter;
  ObserveInstances(seen);
  const bool settled = !consul_away && unsettled_ticks == 0;
  if (!settled && (consul_away || seen.canary_passing == 0 || seen.primary_passing == 0)) {
    doubtful_ticks = kDoubtfulTicks;
  }
  seen.doubtful = doubtful_ticks > 0;
  seen.instances_known = settled;
  const rollout::Wanted& wanted = memory.wanted;
  const bool moves_filters = wanted.canary_filter || wanted.primary_filter;
  const bool outdated = (view.splitter && view.splitter->index <= replaced_splitter) ||
                        view.resolver.index <= replaced_resolver ||
                        (view.router && view.router->index <= replaced_router);
  seen.entries_known = !consul_away && !outdated;
  seen.fenced = (view.splitter && view.splitter->owned) ||
                (seen.splitter ? seen.splitter->epoch == epoch : seen.entries_known);
  seen.fenced = seen.fenced && unsure_ticks == 0 && IsRouterFenced(memory, seen, epoch) &&
                (!moves_filters || view.resolver.owned || seen.resolver_epoch == epoch);
  if (outdated && seen.unknown.empty()) seen.unknown = "our own last write is not read back yet";
  if (unreadable && seen.unknown.empty()) seen.unknown = "the specification cannot be read";
  seen.counts_known = elapsed_seconds > 0;
  if (seen.counts_known) seen.counts = Count(requests);
  seen.orders = orders;
  return seen;
}

void Model::ObserveRouter(Observation& seen) const {
  if (!view.router) return;
  seen.router = rollout::RouterView{.ours = view.router->ours,
                                    .made_for_ours = !view.router->owners,
                                    .unnamed = "",
                                    .epoch = view.router->epoch};
}

void Model::ObserveInstances(Observation& seen) {
  for (const Instance& instance : instances) {
    if (!instance.passing) continue;
    seen.versions.push_back({instance.version, 1, instance.index});
    if (view.resolver.primary_filter == "is " + instance.version) {
      seen.primary_versions.push_back(instance.version);
      ++seen.primary_passing;
    }
    if (view.resolver.canary_filter == "is " + instance.version) {
      seen.canary_versions.push_back(instance.version);
      ++seen.canary_passing;
    }
  }
  for (Caller& caller : callers) {
    if (!caller.passing) continue;
    CallerFacts facts = caller.read;
    if (caller.fresh) {
      facts = {.id = caller.id,
               .canary_healthy = caller.canary_members.empty() ? 0U : 1U,
               .canary_changes = caller.canary_changes,
               .primary_healthy = caller.primary_members.empty() ? 0U : 1U,
               .primary_changes = caller.primary_changes};
      if (caller.tells_weight) facts.applied_canary_percent = caller.applied_percent;
      if (!caller.tells_weight || !spec->match.empty()) facts.route_reloads = caller.reloads;
      caller.read = facts;
    }
    facts.fresh = caller.fresh;
    facts.trouble = caller.fresh ? "" : "its sidecar does not answer";
    seen.callers.push_back(std::move(facts));
  }
}

// Each caller sends as its own sidecar splits.
rollout::TickCounts Model::Count(Requests requests) const {
  rollout::TickCounts counts;
  if (requests == Requests::kNone) return counts;
  const auto fails = [&](const std::string& members) {
    return members.empty() || (requests == Requests::kBad && members == memory.canary_version);
  };
  stats::Counts canary;
  stats::Counts primary;
  for (const Caller& caller : callers) {
    if (!caller.passing) continue;
    const double matched = caller.has_routes ? kMatchedShare : 0;
    const double share = matched + (1 - matched) * caller.applied_percent / kPercent;
    canary += Answered(requests_of_a_caller * share, fails(caller.canary_members));
    primary += Answered(requests_of_a_caller * (1 - share), fails(caller.primary_members));
  }
  counts.canary = {.low = canary, .high = canary};
  counts.primary = {.low = primary, .high = primary};
  return counts;
}

bool Model::Commit(Look& look) {
  const State& next = look.outcome.state;
  const bool must = control::MustStore(look.before, look.outcome) ||
                    (checkpoint_due && IsActive(next.phase) &&
                     (look.seen.unknown.empty() || look.seen.entries_known));
  if (!must) {
    memory = next;
    return true;
  }
  if (memory_outdated) {
    Load();
    return false;
  }
  const CommitFate fate = consul_away ? CommitFate::kIsRefused : commit_fate;
  if (!consul_away) commit_fate = CommitFate::kStands;
  if (fate == CommitFate::kIsRefused) return false;
  look.committed = true;
  checkpoint_due = false;
  stored = next;
  std::erase_if(orders, [&](const Order& order) {
    return order.sequence <= look.before.last_order;  // those just taken are seen once more
  });
  NoteDecisions(look);
  if (fate == CommitFate::kIsUnsure) {
    memory_outdated = true;
    return false;
  }
  if (fate == CommitFate::kIsTheLastOfAll) {
    ChangeLead();
    return false;
  }
  memory = next;
  return true;
}

void Model::NoteDecisions(const Look& look) {
  for (const rollout::Decision& decision : look.outcome.decisions) {
    if (decision.action == "rollback") ledger.rolled_back.insert(decision.canary_version);
    if (decision.action != "start") continue;
    if (decision.cause == "order") ledger.rolled_back.erase(decision.canary_version);
    if (ledger.rolled_back.contains(decision.canary_version)) {
      ledger.broken.push_back("the rolled-back version " + decision.canary_version +
                              " was started by itself");
    }
    ledger.primary_filter = truth.resolver.primary_filter;
  }
}

std::vector<Put> Model::Prepare(const Look& look) const {
  std::vector<Put> puts;
  const rollout::Wanted& wanted = memory.wanted;
  for (const Write write : rollout::DueWrites(memory, look.seen, epoch)) {
    if (write == Write::kSplitter ? view.splitter->owned : view.resolver.owned) continue;
    Put put{.what = write, .epoch = epoch, .ticks_left = kUnsureTicks};
    if (write == Write::kSplitter) {
      put.canary_percent = wanted.canary_percent;
      put.cas_index = view.splitter->index;
    } else if (write == Write::kRoutes) {
      put.router = RouterFor(look);
      put.cas_index = view.router ? view.router->index : 0;
    } else {
      put.filter = write == Write::kCanaryFilter ? *wanted.canary_filter : *wanted.primary_filter;
      put.cas_index = view.resolver.index;
    }
    puts.push_back(std::move(put));
  }
  return puts;
}

// As control::PrepareWrites() does it.
std::optional<Router> Model::RouterFor(const Look& look) const {
  const rollout::Routes wanted = memory.wanted.routes;
  if (!view.router) return Router{.epoch = epoch};
  if (wanted == rollout::Routes::kNone && look.seen.router->made_for_ours) return std::nullopt;
  Router router = *view.router;
  router.ours =
      wanted == rollout::Routes::kPlaced ? rollout::RoutesSeen::kWhole : rollout::RoutesSeen::kNone;
  router.epoch = epoch;
  return router;
}

void Model::Send(const Put& put) {
  const WriteFate fate = consul_away ? WriteFate::kIsLost : write_fate;
  if (fate == WriteFate::kLands) Land(put);
  if (fate == WriteFate::kIsUnsure) Land(put);
  if (fate == WriteFate::kComesLate) in_flight.push_back(put);
  if (fate == WriteFate::kLands || fate == WriteFate::kIsPrevented) {
    const bool is_router = put.what == Write::kRoutes;
    auto& replaced = put.what == Write::kSplitter
                         ? replaced_splitter
                         : (is_router ? replaced_router : replaced_resolver);
    // What prevented it has moved the index.
    if (fate == WriteFate::kIsPrevented) {
      if (put.what == Write::kSplitter && truth.splitter) truth.splitter->index = ++last_index;
      if (is_router && truth.router) truth.router->index = ++last_index;
      if (put.what != Write::kSplitter && !is_router) truth.resolver.index = ++last_index;
    }
    replaced = std::max(replaced, put.cas_index);
  } else {
    unsure_ticks = kUnsureTicks;
  }
}

// As Consul 1.16 does it, an identical write succeeds and does not move the index.
bool Model::Land(const Put& put) {
  if (put.what == Write::kRoutes) return LandRouter(put);
  if (put.what == Write::kSplitter) {
    if (!truth.splitter || truth.splitter->index != put.cas_index) return false;
    const Splitter before = *truth.splitter;
    if (before.owned) ledger.broken.push_back("a splitter that Kubernetes owns was written");
    *truth.splitter = {put.canary_percent, kPercent - put.canary_percent, put.epoch, before.index};
    if (*truth.splitter != before) truth.splitter->index = ++last_index;
    Written(put, ledger.splitter_epoch);
    return true;
  }
  if (truth.resolver.index != put.cas_index) return false;
  Resolver next = truth.resolver;
  if (next.owned) ledger.broken.push_back("a resolver that Kubernetes owns was written");
  (put.what == Write::kCanaryFilter ? next.canary_filter : next.primary_filter) = put.filter;
  next.epoch = put.epoch;
  if (next != truth.resolver) next.index = ++last_index;
  truth.resolver = next;
  Written(put, ledger.resolver_epoch);
  return true;
}

void Model::Written(const Put& put, std::uint64_t& highest) {
  if (put.epoch < highest) {
    ledger.broken.push_back(
        fmt::format("a write of epoch {} succeeded after one of epoch {}", put.epoch, highest));
  }
  highest = std::max(highest, put.epoch);
}

// One that is made late moves nothing, so whoever has been deposed may do that.
bool Model::LandRouter(const Put& put) {
  if (put.cas_index != (truth.router ? truth.router->index : 0)) return false;
  if (put.cas_index == 0) {
    EditRouter(put.router);
    return true;
  }
  const bool owners = truth.router->owners;
  if (owners && (!put.router || !put.router->owners)) {
    ledger.broken.emplace_back("somebody's own routes were taken away");
  }
  std::optional<Router> next = put.router;
  if (next) next->index = truth.router->index;
  if (next && next != truth.router) next->index = ++last_index;
  truth.router = next;
  Written(put, ledger.router_epoch);
  return true;
}

}  // namespace consul_canary::states
