#include "analyzer/control/managed.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "analyzer/config/spec_file.h"
#include "analyzer/control/entry_writer.h"
#include "analyzer/control/observe.h"
#include "analyzer/control/stored_json.h"
#include "analyzer/rollout/callers.h"
#include "analyzer/rollout/decide.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

// A Consul agent holds a request for some 7 s while there is no leader; twice that and more.
constexpr base::milliseconds kLateWrite{20000};
// From Consul's word that an instance passes until every sidecar sends it requests again.
constexpr base::milliseconds kEndpointsLag{2000};
constexpr double kLongestNormalTickSeconds = 5;
constexpr double kNewestTicksPart = 0.2;
constexpr int kTicksToKnowTheRate = 3;
// A Consul transaction holds 64 operations; state, decisions and orders that were taken need most.
constexpr std::size_t kRefusedPerTick = 4;

std::uint64_t& ReplacedBy(Managed& managed, const std::string& what) {
  if (what == kSplitterWrite) return managed.replaced_splitter;
  return what == kRouterWrite ? managed.replaced_router : managed.replaced_resolver;
}

std::string FirstProblem(const Managed& managed) {
  for (const std::string* problem : {&managed.spec_problem, &managed.state_problem,
                                     &managed.look_trouble, &managed.write_trouble}) {
    if (!problem->empty()) return *problem;
  }
  return managed.commit_trouble;
}

}  // namespace

const rollout::Spec* SpecToRuleBy(const std::optional<rollout::Spec>& spec,
                                  const rollout::State& state) {
  if (spec) return &*spec;
  const bool goes_on = IsActive(state.phase) || state.maintenance_due;
  return goes_on && state.spec ? &*state.spec : nullptr;
}

void ReadSpec(Managed& managed, const consul::KvPair& stored) {
  managed.spec.reset();
  managed.spec_problem.clear();
  managed.spec_deleted = false;
  const auto text = SpecTextFromStored(stored.value);
  if (!text) {
    managed.spec_problem = text.error().message;
    return;
  }
  auto spec = config::ParseSpec(*text);
  if (spec) {
    managed.service = spec->service;
    managed.spec = std::move(*spec);
  } else {
    managed.spec_problem = "stored specification: " + config::ToString(spec.error().front());
  }
}

void NoteSpecDeleted(Managed& managed) {
  managed.spec_deleted = true;
  if (!managed.spec) managed.spec = managed.state.spec;
}

void ReadOrders(Managed& managed, const std::vector<consul::KvPair>& pairs) {
  managed.orders.clear();
  managed.refused_orders.clear();
  for (const consul::KvPair& pair : pairs) {
    auto order = OrderFromJson(pair.value);
    const auto sequence = SequenceOf(pair.key);
    if (!order || !sequence) {
      base::Log(base::LogLevel::kError, "order not understood; whoever leads removes it",
                {{"key", pair.key},
                 {"error", order ? "the key does not end with a number of eight digits"
                                 : order.error().message}});
      managed.refused_orders.push_back(pair.key);
      continue;
    }
    order->sequence = *sequence;
    managed.orders.push_back(std::move(*order));
  }
}

void AddDoneOrders(const Managed& managed, const rollout::Observation& seen,
                   const rollout::State& state, Change& change) {
  for (const rollout::Order& order : seen.orders) {
    if (order.sequence <= state.last_order) change.taken_orders.push_back(order.sequence);
  }
  const auto refused = std::min(managed.refused_orders.size(), kRefusedPerTick);
  change.refused_orders.assign(
      managed.refused_orders.begin(),
      managed.refused_orders.begin() + static_cast<std::ptrdiff_t>(refused));
}

std::string FleetPauseInWords(const std::string& stored) {
  const auto pause = FleetPauseFromJson(stored);
  if (!pause) {
    return fmt::format("every rollout is paused, by what {} holds: {}", kFleetPauseKey,
                       pause.error().message);
  }
  return *pause ? InWords(**pause) : "";
}

WriteOutcome OutcomeOf(const WriteResult& write) {
  if (write.unwritable) return {"owned", write.result.error().message};
  if (!write.result) return {"error", write.result.error().message};
  if (*write.result) return {"ok", ""};
  return {"conflict", "the " + write.what + " was changed by someone else meanwhile"};
}

void BeginLead(Managed& managed, std::uint64_t epoch, const std::optional<consul::KvPair>& stored) {
  managed.leading = true;
  managed.epoch = epoch;
  managed.in_flight = 0;
  managed.pending.reset();
  managed.loaded = true;
  managed.maintaining = false;
  managed.last_tick.reset();
  managed.last_checkpoint.reset();
  managed.rated_ticks = 0;
  managed.requests_per_second = 0;
  managed.state = {};
  managed.state_index = 0;
  managed.state_problem.clear();
  managed.gone_callers.clear();
  managed.replaced_splitter = 0;  // a Consul that was set up anew counts from the start
  managed.replaced_resolver = 0;
  managed.replaced_router = 0;
  if (stored) {
    auto state = StateFromJson(stored->value);
    managed.loaded = state.has_value();
    managed.state_problem = state ? "" : state.error().message;
    managed.state_index = stored->modify_index;
    if (state) managed.state = std::move(*state);
  }
  // Whoever has never seen a specification that it could read.
  if (managed.service.empty() && managed.state.spec) {
    managed.service = managed.state.spec->service;
  }
  NoteLoaded(managed.state, managed.recorded);
}

void EndLead(Managed& managed) {
  managed.leading = false;
  managed.in_flight = 0;
  managed.pending.reset();
}

void LogLead(const std::string& id, const Managed& managed) {
  base::Log(managed.loaded ? base::LogLevel::kInfo : base::LogLevel::kError, "leading",
            {{"service", id},
             {"epoch", std::to_string(managed.epoch)},
             {"phase", std::string(ToString(managed.state.phase))},
             {"problem", managed.state_problem}});
}

bool IsCheckpointDue(const Managed& managed, base::MonotonicTime now, base::milliseconds every) {
  return !managed.last_checkpoint || now - *managed.last_checkpoint >= every;
}

bool IsOver(const Managed& managed) {
  const bool ends = managed.leading && managed.loaded && IsActive(managed.state.phase) &&
                    SpecToRuleBy(managed.spec, managed.state) != nullptr;
  return managed.spec_deleted && !ends && managed.in_flight == 0;
}

std::vector<rollout::Decision> TakeCommitted(Managed& managed, const ChangeResult& result) {
  managed.in_flight = 0;
  std::optional<rollout::State> pending = std::exchange(managed.pending, std::nullopt);
  std::vector<rollout::Decision> decisions = std::exchange(managed.pending_decisions, {});
  if (result.committed) {
    managed.commit_trouble.clear();
    managed.state_index = *result.committed;
    if (!pending) return {};
    managed.state = std::move(*pending);
    return decisions;
  }
  const std::string& trouble = result.committed.error().message;
  if (trouble != managed.commit_trouble) {
    base::Log(base::LogLevel::kWarn, "state not committed",
              {{"service", result.id}, {"error", trouble}});
  }
  managed.commit_trouble = trouble;
  if (!pending) return {};
  // What was kept in memory stands; what was to be stored is decided anew, its time included.
  managed.last_tick = managed.previous_tick;
  NoteUndone(managed.recorded);
  // Without an answer it may be stored all the same. The next commit tells, so it comes at once.
  managed.last_checkpoint.reset();
  return {};
}

void LogDecision(const std::string& id, const rollout::Decision& decision) {
  base::Log(base::LogLevel::kInfo, "decision",
            {{"service", id},
             {"seq", std::to_string(decision.sequence)},
             {"action", decision.action},
             {"cause", decision.cause},
             {"from", std::string(ToString(decision.from))},
             {"to", std::string(ToString(decision.to))},
             {"weight", fmt::format("{:g}", decision.weight_percent)},
             {"reason", decision.reason}});
}

void NoteReplaced(Managed& managed, const WriteResult& write, base::MonotonicTime now) {
  if (!write.result) {
    // It may still be carried out.
    if (write.result.error().code == base::ErrorCode::kUnavailable) {
      managed.unsure_until = now + kLateWrite;
    }
    return;
  }
  std::uint64_t& replaced = ReplacedBy(managed, write.what);
  replaced = std::max(replaced, write.cas_index);
  managed.written_at = now;
}

bool IsOutdated(const Managed& managed, const collect::ServiceSnapshot& service) {
  return (service.splitter && service.splitter->modify_index <= managed.replaced_splitter) ||
         (service.resolver && service.resolver->modify_index <= managed.replaced_resolver) ||
         (service.router && service.router->modify_index <= managed.replaced_router);
}

void AddDoubts(Managed& managed, const Doubts& doubts, base::MonotonicTime now,
               rollout::Observation& seen) {
  const bool settled = doubts.instances_settled;
  if (!settled && (doubts.consul_away || !seen.instances_known || seen.canary_passing == 0 ||
                   seen.primary_passing == 0)) {
    managed.doubtful_until = now + kEndpointsLag;
  }
  seen.doubtful = now < managed.doubtful_until;
  seen.instances_known = seen.instances_known && settled;
  const rollout::Wanted& wanted = managed.state.wanted;
  const bool moves_filters = wanted.canary_filter || wanted.primary_filter;
  seen.entries_known = seen.entries_known && !doubts.outdated;
  // No write that was prepared from an entry can reach it once it is gone.
  const bool has_filters = seen.canary_filter || seen.primary_filter;
  // Nor one that we own no more: its index has moved when it got its owner, and nobody prepares a
  // write since.
  const bool splitter_fenced =
      !seen.splitter_unwritable.empty() ||
      (seen.splitter ? seen.splitter->epoch == managed.epoch : seen.entries_known);
  const bool resolver_fenced = !moves_filters || !seen.resolver_unwritable.empty() ||
                               seen.resolver_epoch == managed.epoch ||
                               (seen.entries_known && !has_filters);
  const bool router_fenced = !seen.router_unwritable.empty() ||
                             rollout::IsRouterFenced(managed.state, seen, managed.epoch);
  seen.fenced = splitter_fenced && resolver_fenced && router_fenced && now >= managed.unsure_until;
  if (doubts.outdated && seen.unknown.empty()) {
    seen.unknown = "our own last write is not read back yet";
  }
  if (!managed.spec_problem.empty() && !managed.spec_deleted && seen.unknown.empty()) {
    seen.unknown =
        "the specification cannot be read, so the one before it rules: " + managed.spec_problem;
  }
}

void AddTime(const Managed& managed, double interval_seconds, base::MonotonicTime now,
             rollout::Observation& seen) {
  if (!managed.last_tick) {
    seen.elapsed_seconds = interval_seconds;
    if (managed.state.saved_wall_seconds > 0) {
      seen.unruled_seconds =
          std::max(0.0, seen.wall_seconds - managed.state.saved_wall_seconds - interval_seconds);
    }
    return;
  }
  const double elapsed = std::chrono::duration<double>(now - *managed.last_tick).count();
  seen.elapsed_seconds = std::min(elapsed, kLongestNormalTickSeconds);
  seen.unruled_seconds = elapsed - seen.elapsed_seconds;
}

bool MustStore(const rollout::State& before, const rollout::Outcome& outcome) {
  return !outcome.decisions.empty() || outcome.state.last_order > before.last_order ||
         outcome.state.wanted != before.wanted;
}

std::vector<InstanceAddress> CanaryInstances(const rollout::Spec& spec, const std::string& version,
                                             const collect::ServiceSnapshot& service) {
  std::vector<InstanceAddress> found;
  const auto members = service.subset_instances.find(spec.canary_subset);
  if (members == service.subset_instances.end()) return found;
  for (const consul::Instance& member : members->second) {
    const bool tells = !spec.version_key.empty() || !spec.version_tag_prefix.empty();
    if (tells && VersionOf(member, spec) != version) continue;
    // The subset's members are sidecars, or instances that are in the mesh by themselves.
    found.push_back(
        {member.destination_id.empty() ? member.id : member.destination_id, member.node_address});
  }
  return found;
}

void NoteRate(Managed& managed, const rollout::Observation& seen) {
  if (!seen.counts_known || seen.elapsed_seconds <= 0) return;
  const auto requests =
      static_cast<double>(seen.counts.primary.low.completed + seen.counts.canary.low.completed);
  const double rate = requests / (seen.elapsed_seconds + seen.unruled_seconds);
  const double part = managed.rated_ticks < kTicksToKnowTheRate ? 1.0 / (managed.rated_ticks + 1)
                                                                : kNewestTicksPart;
  managed.requests_per_second += part * (rate - managed.requests_per_second);
  ++managed.rated_ticks;
}

namespace {

std::string Stragglers(const Managed& managed) {
  if (!rollout::IsActive(managed.state.phase)) return "";
  std::string late = rollout::StaleCallers(managed.seen);
  if (late.empty()) late = rollout::WeightStragglers(managed.state, managed.seen);
  if (!late.empty()) return late;
  if (managed.state.stage == rollout::Stage::kPreparing) {
    late = rollout::MembershipStragglers(managed.state, managed.seen, rollout::Subset::kCanary);
  } else if (managed.state.stage == rollout::Stage::kPrimaryFilter) {
    late = rollout::MembershipStragglers(managed.state, managed.seen, rollout::Subset::kPrimary);
  }
  return late.empty() ? "" : "the new instances are not routable from " + late;
}

}  // namespace

RolloutView ViewOf(const std::string& id, const Managed& managed) {
  RolloutView view;
  view.id = id;
  const rollout::Spec* const spec = SpecToRuleBy(managed.spec, managed.state);
  if (spec != nullptr) view.spec = *spec;
  view.problem = FirstProblem(managed);
  view.leading = managed.leading && managed.loaded && view.spec;
  view.holder = managed.holder;
  view.waits = managed.waits;
  view.state = managed.state;
  view.state.baselines.clear();
  view.state.instance_baselines.clear();
  view.state.late_blocks.clear();
  view.verdict = managed.verdict;
  view.splitter = managed.seen.splitter;
  if (view.spec && !view.spec->match.empty()) {
    view.routes = managed.seen.router ? managed.seen.router->ours : rollout::RoutesSeen::kNone;
  }
  view.unknown = managed.seen.unknown;
  view.callers = managed.seen.callers.size();
  if (managed.seen.instances_known) {
    view.canary_passing = managed.seen.canary_passing;
    view.primary_passing = managed.seen.primary_passing;
  }
  view.stragglers = Stragglers(managed);
  // The first tick only sets the counters' baselines.
  if (managed.rated_ticks > kTicksToKnowTheRate) {
    view.requests_per_second = managed.requests_per_second;
  }
  const stats::Counts& history = managed.seen.primary_history;
  view.primary_failure_ratio =
      (static_cast<double>(history.failures) + 0.5) / (static_cast<double>(history.completed) + 1);
  return view;
}

std::string MissingPermission(const RolloutView& view, const collect::MeshSnapshot& mesh) {
  if (mesh.refusals.empty()) return "";
  const consul::Refusal& first = mesh.refusals.front();
  // Who is left out may be no matter to this rollout, and on purpose.
  const bool sees_all = view.unknown.empty() && view.callers > 0 && view.primary_passing > 0;
  return first.left_out && sees_all ? "" : InWords(first);
}

double OutcomesAge(const Managed& managed, const collect::MeshSnapshot& mesh,
                   base::MonotonicTime now) {
  const auto found = mesh.services.find(managed.service);
  if (found == mesh.services.end()) return 0;
  double age = 0;
  for (const collect::CallerReading& caller : found->second->callers) {
    if (!caller.passing || !caller.scraped_at) continue;
    age = std::max(age, std::chrono::duration<double>(now - *caller.scraped_at).count());
  }
  return age;
}

}  // namespace consul_canary::control
