#include "tests/states/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace consul_canary::states {
namespace {

using rollout::OrderKind;
using rollout::Write;

constexpr std::size_t kMostInstances = 3;
constexpr std::size_t kMostInFlight = 2;
constexpr std::size_t kMostOrders = 2;
constexpr double kForeignPercent = 33;
constexpr const char* kEditedFilter = "is edited";
// In a quiet world: enough to prove a step even after a second in which all failed everywhere.
constexpr double kManyRequests = 5e6;

bool Always(const Model& /*model*/) { return true; }

bool TakesOrders(const Model& model) {
  const auto waits = [&](const rollout::Order& order) {
    return order.sequence > model.memory.last_order;
  };
  return std::ranges::count_if(model.orders, waits) < static_cast<std::ptrdiff_t>(kMostOrders);
}

bool WillWrite(const Model& model) {
  return model.write_fate == WriteFate::kLands && model.in_flight.size() < kMostInFlight;
}

bool WillCommit(const Model& model) { return model.commit_fate == CommitFate::kStands; }

template <OrderKind kind>
void Give(Model& model) {
  model.Give({.kind = kind});
}

template <WriteFate fate>
void FateOfWrites(Model& model) {
  model.write_fate = fate;
}

template <CommitFate fate>
void FateOfCommit(Model& model) {
  model.commit_fate = fate;
}

template <Requests requests>
void Tick(Model& model) {
  model.Tick(requests);
}

void Alert(Model& model, std::string key, double started) {
  model.Give({.kind = OrderKind::kRollbackAlert,
              .alert = "HighErrors",
              .alert_key = std::move(key),
              .alert_started_wall_seconds = started});
}

Caller& Web(Model& model) { return model.callers[0]; }
Caller& Shop(Model& model) { return model.callers[1]; }

const Instance& Newest(const Model& model) { return model.instances.back(); }

// The one that the primary subset selects, which may be none.
const Instance* Primary(const Model& model) {
  for (const Instance& instance : model.instances) {
    if (model.truth.resolver.primary_filter == "is " + instance.version) return &instance;
  }
  return nullptr;
}

// A sidecar that has just started counts from the beginning. Where it had not come far before, it
// may come to the very number from which it is awaited to move, and nothing that is read tells the
// two apart: docs/states.md.
bool ShowsRestart(const Model& model) {
  const std::string& id = model.callers[1].id;
  const auto hides = [&id](const std::map<std::string, std::uint64_t>& baseline) {
    const auto found = baseline.find(id);
    return found != baseline.end() && found->second < kRanForLong;
  };
  return !hides(model.memory.reload_baseline) && !hides(model.memory.membership_baseline) &&
         !hides(model.stored.reload_baseline) && !hides(model.stored.membership_baseline);
}

bool HasCanary(const Model& model) { return model.instances.size() > 1; }

bool HasMatch(const Model& model) { return !model.spec->match.empty(); }

bool HasOurs(const Model& model) {
  return model.truth.router && model.truth.router->ours != rollout::RoutesSeen::kNone;
}

bool HasSplitter(const Model& model) { return model.truth.splitter.has_value(); }

const Event kEvents[] = {
    {"tick, good requests", Always, Tick<Requests::kGood>},
    {"tick, bad requests of the canary", Always, Tick<Requests::kBad>},
    {"tick without requests", Always, Tick<Requests::kNone>},
    {"look between ticks", Always, [](Model& model) { model.Glance(); }},

    {"order start", TakesOrders, Give<OrderKind::kStart>},
    {"order pause", TakesOrders, Give<OrderKind::kPause>},
    {"order resume", TakesOrders, Give<OrderKind::kResume>},
    {"order promote", TakesOrders, Give<OrderKind::kPromote>},
    {"order promote --full", TakesOrders,
     [](Model& model) { model.Give({.kind = OrderKind::kPromote, .full = true}); }},
    {"order abort", TakesOrders, Give<OrderKind::kAbort>},
    {"order retry", TakesOrders, Give<OrderKind::kRetry>},
    {"rollback alert", TakesOrders,
     [](Model& model) {
       Alert(model, fmt::format("a@{}", model.last_order), model.wall_seconds + 1);
     }},
    {"rollback alert that began before", TakesOrders, [](Model& model) { Alert(model, "b@0", 0); }},
    {"rollback alert once more",
     [](const Model& model) { return TakesOrders(model) && !model.memory.handled_alerts.empty(); },
     [](Model& model) { Alert(model, model.memory.handled_alerts.back(), model.wall_seconds); }},

    {"a newer version is deployed",
     [](const Model& model) { return model.instances.size() < kMostInstances; },
     [](Model& model) { model.Deploy(fmt::format("v{}", model.instances.size() + 1)); }},
    {"the newest version's instances go",
     [](const Model& model) { return HasCanary(model) && Newest(model).passing; },
     [](Model& model) { model.SetPassing(Newest(model).version, false); }},
    {"the newest version's instances come back",
     [](const Model& model) { return !Newest(model).passing; },
     [](Model& model) { model.SetPassing(Newest(model).version, true); }},
    {"the primary's instances go",
     [](const Model& model) { return Primary(model) != nullptr && Primary(model)->passing; },
     [](Model& model) { model.SetPassing(Primary(model)->version, false); }},
    {"the primary's instances come back",
     [](const Model& model) { return Primary(model) != nullptr && !Primary(model)->passing; },
     [](Model& model) { model.SetPassing(Primary(model)->version, true); }},

    {"a caller's sidecar is not read", [](const Model& model) { return model.callers[0].fresh; },
     [](Model& model) { Web(model).fresh = false; }},
    {"it is read again", [](const Model& model) { return !model.callers[0].fresh; },
     [](Model& model) { Web(model).fresh = true; }},
    {"a caller's sidecar lags behind", [](const Model& model) { return model.callers[1].follows; },
     [](Model& model) { Shop(model).follows = false; }},
    {"it catches up", [](const Model& model) { return !model.callers[1].follows; },
     [](Model& model) {
       Shop(model).follows = true;
       model.Spread();
     }},
    {"a caller's sidecar restarts", ShowsRestart,
     [](Model& model) { model.RestartSidecar(Shop(model)); }},
    {"no caller is passing", [](const Model& model) { return model.callers[0].passing; },
     [](Model& model) {
       for (Caller& caller : model.callers) caller.passing = false;
     }},
    {"the callers pass again", [](const Model& model) { return !model.callers[0].passing; },
     [](Model& model) {
       for (Caller& caller : model.callers) caller.passing = true;
     }},

    {"the splitter is edited", HasSplitter,
     [](Model& model) { model.EditSplitter(kForeignPercent); }},
    {"the splitter is set back",
     [](const Model& model) {
       return HasSplitter(model) &&
              model.truth.splitter->canary_percent != model.memory.settled_percent;
     },
     [](Model& model) { model.EditSplitter(model.memory.settled_percent); }},
    {"the splitter is deleted", HasSplitter,
     [](Model& model) {
       model.truth.splitter.reset();
       model.Spread();
     }},
    {"the splitter is made again", [](const Model& model) { return !HasSplitter(model); },
     [](Model& model) { model.MakeSplitter(); }},
    {"somebody puts own routes into the router",
     [](const Model& model) {
       return HasMatch(model) && !(model.truth.router && model.truth.router->owners);
     },
     [](Model& model) {
       Router router = model.truth.router.value_or(Router{});
       router.owners = true;
       model.EditRouter(router);
     }},
    {"the routes of the match are taken out", HasOurs,
     [](Model& model) {
       if (!HasOurs(model)) return;
       Router router = *model.truth.router;
       router.ours = rollout::RoutesSeen::kNone;
       model.EditRouter(router);
     }},
    {"the routes of the match are moved", HasOurs,
     [](Model& model) {
       Router router = *model.truth.router;
       router.ours = rollout::RoutesSeen::kOther;
       model.EditRouter(router);
     }},
    {"the router is deleted", [](const Model& model) { return model.truth.router.has_value(); },
     [](Model& model) { model.EditRouter(std::nullopt); }},
    {"the canary's filter is edited",
     [](const Model& model) { return model.truth.resolver.canary_filter != kEditedFilter; },
     [](Model& model) { model.EditFilter(Write::kCanaryFilter, kEditedFilter); }},
    {"the primary's filter is edited",
     [](const Model& model) { return model.truth.resolver.primary_filter != kEditedFilter; },
     [](Model& model) { model.EditFilter(Write::kPrimaryFilter, kEditedFilter); }},

    {"Kubernetes takes the splitter",
     [](const Model& model) { return HasSplitter(model) && !model.truth.splitter->owned; },
     [](Model& model) { model.OwnSplitter(true); }},
    {"it gives the splitter back",
     [](const Model& model) { return HasSplitter(model) && model.truth.splitter->owned; },
     [](Model& model) { model.OwnSplitter(false); }},
    {"Kubernetes takes the resolver",
     [](const Model& model) { return !model.truth.resolver.owned; },
     [](Model& model) { model.OwnResolver(true); }},
    {"it gives the resolver back", [](const Model& model) { return model.truth.resolver.owned; },
     [](Model& model) { model.OwnResolver(false); }},

    {"the specification is changed", Always,
     [](Model& model) { std::swap(model.spec, model.changed); }},
    {"Consul is away", [](const Model& model) { return !model.consul_away; },
     [](Model& model) { model.consul_away = true; }},
    {"Consul is back", [](const Model& model) { return model.consul_away; },
     [](Model& model) { model.ReturnConsul(); }},
    {"what is read of Consul is old", [](const Model& model) { return !model.view_lags; },
     [](Model& model) { model.view_lags = true; }},
    {"it is read anew", [](const Model& model) { return model.view_lags; },
     [](Model& model) { model.view_lags = false; }},
    {"the next writes are lost", WillWrite, FateOfWrites<WriteFate::kIsLost>},
    {"the next writes' answers are lost", WillWrite, FateOfWrites<WriteFate::kIsUnsure>},
    {"the next writes come late", WillWrite, FateOfWrites<WriteFate::kComesLate>},
    {"the next writes are prevented by an edit", WillWrite, FateOfWrites<WriteFate::kIsPrevented>},
    {"a late write arrives", [](const Model& model) { return !model.in_flight.empty(); },
     [](Model& model) { model.LandLateWrite(); }},
    {"the next commit is refused", WillCommit, FateOfCommit<CommitFate::kIsRefused>},
    {"the next commit's answer is lost", WillCommit, FateOfCommit<CommitFate::kIsUnsure>},
    {"the analyzer is killed right after the next commit", WillCommit,
     FateOfCommit<CommitFate::kIsTheLastOfAll>},
    {"a checkpoint is due", [](const Model& model) { return !model.checkpoint_due; },
     [](Model& model) { model.checkpoint_due = true; }},
    {"another leader, or the same restarted", Always, [](Model& model) { model.ChangeLead(); }},
    {"nobody rules until the deadlines are over",
     [](const Model& model) { return model.unruled_seconds == 0; },
     [](Model& model) {
       model.unruled_seconds =
           std::max(model.spec->deadline, model.spec->ready_deadline).count() + 1;
       model.ChangeLead();
     }},
};

}  // namespace

std::span<const Event> AllEvents() { return kEvents; }

const Event& EventNamed(std::string_view name) {
  const auto* const found = std::ranges::find(kEvents, name, &Event::name);
  assert(found != std::end(kEvents));
  return *found;
}

void Happen(Model& model, const Event& event) {
  model.last.reset();
  event.happen(model);
}

void BringQuiet(Model& model) {
  if (model.consul_away) model.ReturnConsul();
  model.view_lags = model.unreadable = false;
  model.write_fate = WriteFate::kLands;
  model.commit_fate = CommitFate::kStands;
  model.requests_of_a_caller = kManyRequests;
  if (!model.truth.splitter) model.MakeSplitter();
  if (model.truth.splitter->owned) model.OwnSplitter(false);
  if (model.truth.resolver.owned) model.OwnResolver(false);
  // Who has broken the primary subset mends it; nobody else is to.
  if (model.truth.resolver.primary_filter == kEditedFilter) {
    const std::string& primary = model.memory.primary_version;
    model.EditFilter(Write::kPrimaryFilter, "is " + (primary.empty() ? "v1" : primary));
  }
  for (Instance& instance : model.instances) instance.passing = true;
  for (Caller& caller : model.callers) caller.passing = caller.fresh = caller.follows = true;
  model.Spread();
}

}  // namespace consul_canary::states
