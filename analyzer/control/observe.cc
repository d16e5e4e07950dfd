#include "analyzer/control/observe.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "analyzer/control/entry_writer.h"
#include "analyzer/control/match_routes.h"
#include "analyzer/control/shield_view.h"
#include "analyzer/rollout/judge.h"

namespace consul_canary::control {
namespace {

constexpr double kMillisecondsPerSecond = 1000;

using collect::CallerReading;
using collect::ServiceSnapshot;
using rollout::CallerFacts;
using rollout::Observation;
using rollout::Spec;

std::uint64_t EpochOf(const std::map<std::string, std::string>& meta) {
  std::uint64_t epoch = 0;
  const auto found = meta.find(kEpochMetaKey);
  if (found != meta.end()) {
    const std::string& text = found->second;
    std::from_chars(text.data(), text.data() + text.size(), epoch);
  }
  return epoch;
}

rollout::SplitterView ViewOf(const consul::Splitter& splitter, const Spec& spec) {
  rollout::SplitterView view;
  view.canary_percent = splitter.WeightOf(spec.canary_subset);
  view.primary_percent = splitter.WeightOf(spec.primary_subset);
  double total = 0;
  for (const consul::Split& split : splitter.splits) total += split.weight;
  view.other_percent = total - view.canary_percent - view.primary_percent;
  view.epoch = EpochOf(splitter.meta);
  return view;
}

std::vector<rollout::VersionSeen> VersionsOf(const ServiceSnapshot& service, const Spec& spec) {
  std::map<std::string, rollout::VersionSeen> by_name;
  for (const consul::Instance& instance : service.instances) {
    if (!instance.passing) continue;
    const std::string version = VersionOf(instance, spec);
    rollout::VersionSeen& seen = by_name[version];
    seen.version = version;
    ++seen.passing;
    seen.newest_index = std::max(seen.newest_index, instance.create_index);
  }
  std::vector<rollout::VersionSeen> versions;
  versions.reserve(by_name.size());
  for (auto& [name, seen] : by_name) versions.push_back(std::move(seen));
  return versions;
}

bool TellsVersions(const Spec& spec) {
  return !spec.version_key.empty() || !spec.version_tag_prefix.empty();
}

// Versions of the instances; where nothing tells them the subset's filter stands for one.
std::vector<std::string> VersionsIn(const std::vector<const consul::Instance*>& instances,
                                    const std::optional<std::string>& filter, const Spec& spec) {
  std::vector<std::string> versions;
  for (const consul::Instance* instance : instances) {
    std::string version = TellsVersions(spec) ? VersionOf(*instance, spec) : filter.value_or("");
    if (std::find(versions.begin(), versions.end(), version) == versions.end()) {
      versions.push_back(std::move(version));
    }
  }
  return versions;
}

// Those of the two subsets, where a filter stands for a version.
std::vector<rollout::VersionSeen> VersionsByFilter(const Observation& seen) {
  std::vector<rollout::VersionSeen> versions;
  if (seen.primary_filter && seen.primary_passing > 0) {
    versions.push_back({*seen.primary_filter, seen.primary_passing, 0});
  }
  if (seen.canary_filter && seen.canary_passing > 0) {
    versions.push_back({*seen.canary_filter, seen.canary_passing, 1});
  }
  return versions;
}

void AddSubsets(const ServiceSnapshot& service, const Spec& spec, Observation& seen) {
  const auto filter = [&service](const std::string& subset) -> std::optional<std::string> {
    if (!service.resolver) return std::nullopt;
    const auto found = service.resolver->subset_filters.find(subset);
    if (found == service.resolver->subset_filters.end()) return std::nullopt;
    return found->second;
  };
  seen.canary_filter = filter(spec.canary_subset);
  seen.primary_filter = filter(spec.primary_subset);
  const auto passing = [&service](const std::string& subset) {
    std::vector<const consul::Instance*> found;
    const auto members = service.subset_instances.find(subset);
    if (members == service.subset_instances.end()) return found;
    for (const consul::Instance& instance : members->second) {
      if (instance.passing) found.push_back(&instance);
    }
    return found;
  };
  const auto canaries = passing(spec.canary_subset);
  seen.canary_passing = static_cast<int>(canaries.size());
  seen.canary_versions = VersionsIn(canaries, seen.canary_filter, spec);
  const auto primaries = passing(spec.primary_subset);
  seen.primary_passing = static_cast<int>(primaries.size());
  seen.primary_versions = VersionsIn(primaries, seen.primary_filter, spec);
  seen.versions = TellsVersions(spec) ? VersionsOf(service, spec) : VersionsByFilter(seen);
}

CallerFacts FactsOf(const CallerReading& caller, const Spec& spec, base::MonotonicTime now) {
  CallerFacts facts{.id = caller.id};
  facts.fresh = caller.scraped_at && now - *caller.scraped_at <= kFreshFor;
  if (!facts.fresh) {
    const std::string age =
        caller.scraped_at
            ? fmt::format("last read {:.1f} s ago",
                          std::chrono::duration<double>(now - *caller.scraped_at).count())
            : "never read";
    facts.trouble = caller.error.empty() ? age : age + ": " + caller.error;
  }
  const auto counters = [&caller](const std::string& subset) {
    const auto found = caller.subsets.find(subset);
    return found == caller.subsets.end() ? envoy::SubsetCounters{} : found->second;
  };
  const envoy::SubsetCounters canary = counters(spec.canary_subset);
  const envoy::SubsetCounters primary = counters(spec.primary_subset);
  facts.canary_healthy = canary.membership_healthy;
  facts.canary_changes = canary.membership_change;
  facts.primary_healthy = primary.membership_healthy;
  facts.primary_changes = primary.membership_change;
  facts.canary_ejected = canary.ejections_active;
  if (!caller.applied_shares.empty()) {
    const auto share = caller.applied_shares.find(spec.canary_subset);
    facts.applied_canary_percent = share == caller.applied_shares.end() ? 0 : 100 * share->second;
  }
  facts.route_reloads = caller.route_reloads;
  return facts;
}

envoy::View ViewFor(rollout::OutcomeView view) {
  switch (view) {
    case rollout::OutcomeView::kFirstTry:
      return envoy::View::kFirstTry;
    case rollout::OutcomeView::kAttempts:
      return envoy::View::kAttempts;
    case rollout::OutcomeView::kRequests:
      return envoy::View::kRequests;
  }
  return envoy::View::kFirstTry;
}

stats::Counts Bound(const envoy::Outcomes& outcomes, bool high) {
  return {static_cast<std::int64_t>(outcomes.completed),
          static_cast<std::int64_t>(high ? outcomes.failures_high : outcomes.failures_low)};
}

const std::vector<consul::RetryRule>& RetriesOf(const ServiceSnapshot& service) {
  static const std::vector<consul::RetryRule> kNone;
  return service.router ? service.router->retries : kNone;
}

stats::LatencyCounts ToLatency(const envoy::OutcomeCounters& counters) {
  stats::LatencyCounts latency{.timed = static_cast<std::int64_t>(counters.timed)};
  latency.slower.reserve(counters.faster.size());
  for (const auto& [edge_ms, faster] : counters.faster) {
    const std::uint64_t slower = counters.timed > faster ? counters.timed - faster : 0;
    latency.slower.emplace_back(edge_ms / kMillisecondsPerSecond,
                                static_cast<std::int64_t>(slower));
  }
  return latency;
}

rollout::SubsetTick ToTick(envoy::View view, const envoy::OutcomeCounters& counters,
                           const std::vector<consul::RetryRule>& retries) {
  const envoy::Outcomes outcomes = envoy::Apply(view, counters, retries);
  return {
      .low = Bound(outcomes, false), .high = Bound(outcomes, true), .latency = ToLatency(counters)};
}

// `difference` leads to `counters`, or is them.
void CountCalls(const envoy::OutcomeCounters& counters, envoy::OutcomeCounters& difference) {
  if (counters.grpc_statuses.empty()) return;
  const std::uint64_t without = envoy::WithoutStatus(counters.answers, counters.grpc_statuses);
  envoy::CountByStatus(difference, without);
}

std::map<std::string, envoy::SubsetOutcomes> CallersNow(const ServiceSnapshot& service) {
  std::map<std::string, envoy::SubsetOutcomes> now;
  for (const CallerReading& caller : service.callers) {
    if (!caller.scraped_at) continue;
    envoy::SubsetOutcomes& outcomes = now[caller.id];
    for (const auto& [subset, counters] : caller.subsets) {
      outcomes[subset] = envoy::ToOutcomeCounters(counters);
    }
  }
  return now;
}

envoy::OutcomeCounters CountsOf(const envoy::TickOutcomes& tick, const std::string& subset) {
  const auto found = tick.by_subset.find(subset);
  return found == tick.by_subset.end() ? envoy::OutcomeCounters{} : found->second;
}

// What the callers' sidecars have counted of the primary since they started, or behind a shield its
// instances' own.
rollout::SubsetTick PrimaryHistory(const Spec& spec, const ServiceSnapshot& service) {
  envoy::OutcomeCounters total;
  if (IsShielded(spec, service)) {
    for (const collect::ServerReading& server : service.servers) {
      const bool is_primary =
          std::ranges::find(server.subsets, spec.primary_subset) != server.subsets.end();
      if (!server.local_app || !is_primary) continue;
      envoy::OutcomeCounters counters = envoy::ToOutcomeCounters(*server.local_app);
      CountCalls(counters, counters);
      total += counters;
    }
    return ToTick(envoy::View::kAttempts, total, {});
  }
  for (const CallerReading& caller : service.callers) {
    const auto found = caller.subsets.find(spec.primary_subset);
    if (found == caller.subsets.end()) continue;
    envoy::OutcomeCounters counters = envoy::ToOutcomeCounters(found->second);
    CountCalls(counters, counters);
    total += counters;
  }
  return ToTick(ViewFor(spec.outcomes), total, RetriesOf(service));
}

stats::LateCounts ToCounts(const envoy::LateOutcomes& outcomes) {
  return {static_cast<std::int64_t>(outcomes.started), static_cast<std::int64_t>(outcomes.late)};
}

envoy::FlightReading FlightOf(const envoy::SubsetCounters& counters) {
  std::uint64_t ended = counters.completed;
  // Envoy counts a stream as completed when its answer begins, and its status when it ends. Taken
  // together they are at least those that ended, which keeps what is late a lower bound.
  for (const auto& [status, count] : counters.grpc_statuses) ended += count;
  return {ended, counters.active};
}

double SecondsAt(base::MonotonicTime time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

void Add(const envoy::FlightReading& reading, envoy::FlightReading& sum) {
  sum.completed += reading.completed;
  sum.active += reading.active;
}

// Under which name the instances' blocks stand together.
constexpr const char* kInstances = "#";

// By the sidecar that tells. Behind a shield these are the instances' own, each of one subset.
std::map<std::string, envoy::SubsetFlights> FlightsNow(const Spec& spec,
                                                       const ServiceSnapshot& service) {
  std::map<std::string, envoy::SubsetFlights> flights;
  if (IsShielded(spec, service)) {
    // One block of all of them, since both subsets' must begin and end together.
    envoy::SubsetFlights all;
    for (const collect::ServerReading& server : service.servers) {
      if (!server.scraped_at || !server.local_app) continue;
      const double at = SecondsAt(*server.scraped_at);
      all.at_seconds = all.at_seconds > 0 ? std::min(all.at_seconds, at) : at;
      const std::string* subset = SubsetOf(spec, server);
      if (subset == nullptr) continue;
      Add(FlightOf(*server.local_app), *subset == spec.canary_subset ? all.canary : all.primary);
    }
    if (all.at_seconds > 0) flights[kInstances] = all;
    return flights;
  }
  for (const CallerReading& caller : service.callers) {
    const auto canary = caller.subsets.find(spec.canary_subset);
    if (!caller.scraped_at || canary == caller.subsets.end()) continue;
    if (MixesSubsets(spec, caller)) continue;
    const auto primary = caller.subsets.find(spec.primary_subset);
    flights[caller.id] = {.at_seconds = SecondsAt(*caller.scraped_at),
                          .canary = FlightOf(canary->second),
                          .primary = primary == caller.subsets.end() ? envoy::FlightReading{}
                                                                     : FlightOf(primary->second)};
  }
  return flights;
}

// The canary's requests that hang, at least, over all that tell. In the warm-up blocks begin anew.
stats::LateCounts TakeLate(const Spec& spec, const ServiceSnapshot& service,
                           rollout::State& state) {
  rollout::Evidence& evidence = state.evidence;
  const double after = evidence.late_after_seconds;
  if (!IsActive(state.phase) || after <= 0 || !rollout::IsWarm(spec, state)) {
    state.late_blocks.clear();
    return {};
  }
  envoy::LateTick total;
  for (const auto& [id, reading] : FlightsNow(spec, service)) {
    const auto [blocks, is_new] = state.late_blocks.try_emplace(id, envoy::BeginLate(reading));
    if (!is_new) total += envoy::AdvanceLate(blocks->second, reading, after);
  }
  if (total.seconds == 0) return {};
  evidence.late_left_out =
      stats::HasLongRequests({.late = ToCounts(total.primary),
                              .seconds = total.seconds,
                              .under_way = static_cast<double>(total.primary_active),
                              .mean_seconds = stats::MeanSecondsAtMost(evidence.primary_latency)});
  return evidence.late_left_out ? stats::LateCounts{} : ToCounts(total.canary);
}

// What each instance of the primary says of itself: attempts at its own sidecar.
void TakeInstances(const Spec& spec, const ServiceSnapshot& service,
                   std::map<std::string, envoy::OutcomeCounters>& baselines,
                   rollout::TickCounts& taken) {
  std::map<std::string, envoy::OutcomeCounters> now;  // whoever is gone is forgotten
  for (const collect::ServerReading& server : service.servers) {
    if (!server.local_app ||
        std::ranges::find(server.subsets, spec.primary_subset) == server.subsets.end()) {
      continue;
    }
    const envoy::OutcomeCounters& counters = now[server.id] =
        envoy::ToOutcomeCounters(*server.local_app);
    const auto before = baselines.find(server.id);
    if (before == baselines.end()) continue;
    auto difference = envoy::Difference(counters, before->second);
    if (!difference) continue;
    CountCalls(counters, *difference);
    const envoy::Outcomes attempts = envoy::Apply(envoy::View::kAttempts, *difference, {});
    taken.primary_instances.emplace_back(server.id, Bound(attempts, true));
    taken.primary_instance_latency.emplace_back(server.id, ToLatency(*difference));
  }
  baselines = std::move(now);
}

// A request that fails is tried again, and again it may fail: its attempts fail together.
double AttemptsTogether(const Spec& spec, const ServiceSnapshot& service) {
  std::uint64_t retries = 0;
  if (spec.outcomes != rollout::OutcomeView::kAttempts) return 1;
  for (const consul::RetryRule& rule : RetriesOf(service))
    retries = std::max(retries, rule.retries);
  return 1 + static_cast<double>(retries);
}

constexpr const char* kInstancesLeftOut =
    "Consul leaves out instances of the service that the token may not read";

// Who is not there may only not be shown to us.
bool LacksInstances(const collect::MeshSnapshot& mesh, const ServiceSnapshot& service) {
  const std::string name = base::UrlEncode(service.service);
  return mesh.left_out.contains("GET /v1/health/connect/" + name) ||
         mesh.left_out.contains("GET /v1/health/service/" + name);
}

// What is not advanced any more must not be a baseline later: all that lies between would be
// counted a second time.
void ForgetOtherWay(const Spec& spec, const ServiceSnapshot& service, bool shielded,
                    rollout::State& state) {
  for (const collect::ServerReading& server : service.servers) {
    const std::string* subset = shielded ? SubsetOf(spec, server) : nullptr;
    for (const std::string& other : {spec.primary_subset, spec.canary_subset}) {
      if (subset == nullptr || other != *subset) {
        state.baselines.erase(InstanceKey(server, other));
      }
    }
  }
  std::erase_if(state.late_blocks,
                [shielded](const auto& block) { return (block.first == kInstances) != shielded; });
}

// A request of the primary's that is retried stays there, and what fails at each try is one
// request: the callers count how often that was. What the two pages do not agree upon is doubtful.
void TakeOutRetries(const envoy::OutcomeCounters& callers, rollout::SubsetTick& primary) {
  const auto retries = static_cast<std::int64_t>(callers.retries);
  const auto again = retries - static_cast<std::int64_t>(callers.retry_success);
  const std::int64_t completed = std::max<std::int64_t>(0, primary.low.completed - retries);
  primary.low = {completed,
                 std::clamp<std::int64_t>(primary.low.failures - std::max<std::int64_t>(0, again),
                                          0, completed)};
  primary.high = {completed, std::min(primary.high.failures, completed)};
}

std::string WhyUnusable(const Spec& spec, const ServiceSnapshot& service, base::MonotonicTime now) {
  if (!service.splitter) return "the service has no service-splitter entry";
  if (!service.resolver) return "the service has no service-resolver entry";
  if (IsShielded(spec, service)) return WhyAttemptsUnknown(spec, service, now);
  if (service.resolver->has_failover) {
    return "the service-resolver has Failover: the callers' counters then mix the subsets, and no "
           "outcome can be told; one of subset " +
           spec.canary_subset + " to " + spec.primary_subset +
           " alone would do, and `shield: auto`";
  }
  for (const CallerReading& caller : service.callers) {
    if (!caller.passing || !MixesSubsets(spec, caller)) continue;
    return fmt::format(
        "the sidecar {} still fails over between the subsets, as the service-resolver does not any "
        "more: its counters mix them",
        caller.id);
  }
  return "";
}

}  // namespace

std::string VersionOf(const consul::Instance& instance, const Spec& spec) {
  if (!spec.version_tag_prefix.empty()) {
    for (const std::string& tag : instance.tags) {
      if (tag.starts_with(spec.version_tag_prefix)) {
        return tag.substr(spec.version_tag_prefix.size());
      }
    }
    return "";
  }
  const auto found = instance.meta.find(spec.version_key);
  return found == instance.meta.end() ? "" : found->second;
}

Observation Observe(const Spec& spec, const collect::MeshSnapshot& mesh,
                    const ServiceSnapshot* service, base::MonotonicTime now) {
  Observation seen;
  seen.entries_known = !mesh.consul_error && mesh.ready && service != nullptr &&
                       !mesh.consul_failures.contains("service-splitter") &&
                       !mesh.consul_failures.contains("service-router") &&
                       !mesh.consul_failures.contains("service-resolver") &&
                       !mesh.left_out.contains("GET /v1/config/service-splitter") &&
                       !mesh.left_out.contains("GET /v1/config/service-resolver") &&
                       !mesh.left_out.contains("GET /v1/config/service-router");
  if (mesh.consul_error) {
    seen.unknown = "Consul does not answer: " + mesh.consul_error->message;
  } else if (!mesh.ready || service == nullptr) {
    seen.unknown = "the mesh has not been read yet";
  } else {
    seen.unknown = WhyUnusable(spec, *service, now);
    if (seen.unknown.empty() && LacksInstances(mesh, *service)) seen.unknown = kInstancesLeftOut;
  }
  if (service == nullptr) return seen;
  if (service->splitter) {
    seen.splitter = ViewOf(*service->splitter, spec);
    seen.splitter_unwritable =
        WhyNotWritable("service-splitter", service->service, service->splitter->meta);
  }
  if (service->router) {
    seen.router = RouterViewOf(*service->router, spec);
    seen.router->epoch = EpochOf(service->router->meta);
    seen.router_unwritable =
        WhyNotWritable("service-router", service->service, service->router->meta);
  }
  if (service->resolver) {
    seen.resolver_epoch = EpochOf(service->resolver->meta);
    seen.resolver_unwritable =
        WhyNotWritable("service-resolver", service->service, service->resolver->meta);
  }
  AddSubsets(*service, spec, seen);
  seen.instances_known =
      service->instances_known && !mesh.consul_error && !LacksInstances(mesh, *service);
  for (const CallerReading& caller : service->callers) {
    if (caller.passing) seen.callers.push_back(FactsOf(caller, spec, now));
  }
  seen.shield = ShieldOf(spec, *service, now);
  // Behind a shield a retry is another instance's, and fails or not by itself.
  seen.attempts_together = seen.shield ? 1 : AttemptsTogether(spec, *service);
  if (service->router) seen.request_timeout_seconds = service->router->request_timeout_seconds;
  const rollout::SubsetTick history = PrimaryHistory(spec, *service);
  seen.primary_history = history.high;
  seen.primary_latency_history = history.latency;
  return seen;
}

rollout::TickCounts TakeCounts(const Spec& spec, const ServiceSnapshot& service,
                               rollout::State& state) {
  const bool shielded = IsShielded(spec, service);
  auto now = CallersNow(service);
  for (const CallerReading& caller : service.callers) {
    if (shielded || !MixesSubsets(spec, caller)) continue;
    now.erase(caller.id);  // what it counts once that is over has a new beginning
    state.baselines.erase(caller.id);
    state.late_blocks.erase(caller.id);
  }
  ForgetOtherWay(spec, service, shielded, state);
  const envoy::TickOutcomes callers = envoy::Advance(state.baselines, now);
  const auto counts = [&](envoy::View view, const envoy::TickOutcomes& tick,
                          const std::string& subset) {
    return ToTick(view, CountsOf(tick, subset), RetriesOf(service));
  };
  rollout::TickCounts taken;
  if (shielded) {
    const auto instances = envoy::Advance(state.baselines, InstancesNow(spec, service));
    taken.primary = counts(envoy::View::kAttempts, instances, spec.primary_subset);
    taken.canary = counts(envoy::View::kAttempts, instances, spec.canary_subset);
    TakeOutRetries(CountsOf(callers, spec.primary_subset), taken.primary);
    for (const std::string& subset : {spec.primary_subset, spec.canary_subset}) {
      taken.callers += counts(envoy::View::kRequests, callers, subset).low;
    }
  } else {
    taken.primary = counts(ViewFor(spec.outcomes), callers, spec.primary_subset);
    taken.canary = counts(ViewFor(spec.outcomes), callers, spec.canary_subset);
  }
  taken.canary.late = TakeLate(spec, service, state);
  TakeInstances(spec, service, state.instance_baselines, taken);
  return taken;
}

std::set<std::string> SidecarsOf(const ServiceSnapshot& service) {
  std::set<std::string> known;
  for (const CallerReading& caller : service.callers) known.insert(caller.id);
  for (const collect::ServerReading& server : service.servers) {
    for (const std::string& subset : server.subsets) known.insert(InstanceKey(server, subset));
  }
  return known;
}

void ForgetGoneCallers(const ServiceSnapshot& service, envoy::Baselines& baselines) {
  const std::set<std::string> known = SidecarsOf(service);
  std::erase_if(baselines, [&known](const auto& entry) { return !known.contains(entry.first); });
}

}  // namespace consul_canary::control
