#include "analyzer/control/take_counts.h"

#include <algorithm>
#include <map>
#include <utility>

#include "analyzer/control/shield_view.h"
#include "analyzer/rollout/judge.h"
#include "analyzer/stats/ejection.h"

namespace consul_canary::control {
namespace {

constexpr double kMillisecondsPerSecond = 1000;

using collect::CallerReading;
using collect::ServiceSnapshot;
using rollout::Spec;

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

// What each instance says of itself: attempts at its own sidecar. Of the canary's only behind a
// shield, where the callers' sidecars say nothing of them.
void TakeInstances(const Spec& spec, const ServiceSnapshot& service, bool shielded,
                   std::map<std::string, envoy::OutcomeCounters>& baselines,
                   rollout::TickCounts& taken) {
  std::map<std::string, envoy::OutcomeCounters> now;  // whoever is gone is forgotten
  // Where the request chooses the instance, none has a share that is due to it.
  const bool hashes = service.resolver && service.resolver->hashes;
  for (const collect::ServerReading& server : service.servers) {
    const bool is_primary =
        std::ranges::find(server.subsets, spec.primary_subset) != server.subsets.end();
    const std::string* subset = shielded && server.passing ? SubsetOf(spec, server) : nullptr;
    const bool is_canary = subset != nullptr && *subset == spec.canary_subset && !hashes;
    if (!server.local_app || (!is_primary && !is_canary)) continue;
    const envoy::OutcomeCounters& counters = now[server.id] =
        envoy::ToOutcomeCounters(*server.local_app);
    const auto before = baselines.find(server.id);
    if (before == baselines.end()) continue;
    auto difference = envoy::Difference(counters, before->second);
    if (!difference) continue;
    CountCalls(counters, *difference);
    const envoy::Outcomes attempts = envoy::Apply(envoy::View::kAttempts, *difference, {});
    if (is_canary) taken.canary_instances.emplace_back(server.id, Bound(attempts, false));
    if (!is_primary) continue;
    taken.primary_instances.emplace_back(server.id, Bound(attempts, true));
    taken.primary_instance_latency.emplace_back(server.id, ToLatency(*difference));
  }
  baselines = std::move(now);
}

// What is not advanced any more must not be a baseline later: all that lies between would be
// counted a second time.
void ForgetOtherWay(const Spec& spec, const ServiceSnapshot& service, bool shielded,
                    rollout::State& state) {
  if (!shielded) {
    state.instances_before.clear();
    state.pending_retries = {};
  }
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

// Attempts that failed after another one of the same request had. Retries of what is no failure of
// an instance (a 429, a connection that none accepted) are none.
std::int64_t Repeats(const envoy::OutcomeCounters& callers) {
  constexpr int kFirstServerError = 500;
  auto failed = static_cast<std::int64_t>(callers.grpc_retries);
  for (const auto& [code, count] : callers.retried_responses) {
    if (code >= kFirstServerError) failed += static_cast<std::int64_t>(count);
  }
  return std::max<std::int64_t>(0, failed - static_cast<std::int64_t>(callers.retry_success));
}

// A request of the primary's that is retried stays there. What the two pages do not agree upon is
// doubtful.
void TakeOutPrimarysRetries(const envoy::OutcomeCounters& callers, rollout::PendingRetries& pending,
                            rollout::SubsetTick& primary) {
  const std::int64_t retries = stats::LeaveOutRetries(
      pending.primary, static_cast<std::int64_t>(callers.retries), primary.low.completed);
  const std::int64_t repeats =
      stats::LeaveOutRetries(pending.primary_repeats, Repeats(callers), primary.low.failures);
  const std::int64_t completed = primary.low.completed - retries;
  primary.low = {completed, std::min(primary.low.failures - repeats, completed)};
  primary.high = {completed, std::min(primary.high.failures, completed)};
}

// Of one of the canary's, the tries until it is ejected are its own too; which of the repeats were
// the primary's is not known, so at most all that failed are the canary's.
void TakeOutCanarysRepeats(const envoy::OutcomeCounters& callers, rollout::PendingRetries& pending,
                           rollout::SubsetTick& canary) {
  const std::int64_t repeats =
      stats::LeaveOutRetries(pending.canary_repeats, Repeats(callers), canary.low.failures - 1);
  canary.low.completed -= repeats;
  canary.low.failures -= repeats;
  canary.high = {canary.low.completed, std::min(canary.high.failures, canary.low.completed)};
}

}  // namespace

rollout::SubsetTick PrimaryHistory(const Spec& spec, const ServiceSnapshot& service) {
  envoy::OutcomeCounters callers;
  for (const CallerReading& caller : service.callers) {
    const auto found = caller.subsets.find(spec.primary_subset);
    if (found == caller.subsets.end()) continue;
    envoy::OutcomeCounters counters = envoy::ToOutcomeCounters(found->second);
    CountCalls(counters, counters);
    callers += counters;
  }
  rollout::SubsetTick history = ToTick(ViewFor(spec.outcomes), callers, RetriesOf(service));
  if (!IsShielded(spec, service)) return history;
  envoy::OutcomeCounters instances;
  for (const collect::ServerReading& server : service.servers) {
    const bool is_primary =
        std::ranges::find(server.subsets, spec.primary_subset) != server.subsets.end();
    if (!server.local_app || !is_primary) continue;
    envoy::OutcomeCounters counters = envoy::ToOutcomeCounters(*server.local_app);
    CountCalls(counters, counters);
    instances += counters;
  }
  rollout::SubsetTick attempts = ToTick(envoy::View::kAttempts, instances, {});
  attempts.latency = history.latency;
  return attempts;
}

// A request that fails is tried again, and again it may fail: its attempts fail together.
double AttemptsTogether(const Spec& spec, const ServiceSnapshot& service) {
  std::uint64_t retries = 0;
  if (spec.outcomes != rollout::OutcomeView::kAttempts) return 1;
  for (const consul::RetryRule& rule : RetriesOf(service))
    retries = std::max(retries, rule.retries);
  return 1 + static_cast<double>(retries);
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
    // As they were a tick ago: by now the callers have told what became of each request.
    const auto instances = envoy::Advance(
        state.baselines, std::exchange(state.instances_before, InstancesNow(spec, service)));
    taken.primary = counts(envoy::View::kAttempts, instances, spec.primary_subset);
    taken.canary = counts(envoy::View::kAttempts, instances, spec.canary_subset);
    TakeOutPrimarysRetries(CountsOf(callers, spec.primary_subset), state.pending_retries,
                           taken.primary);
    TakeOutCanarysRepeats(CountsOf(callers, spec.canary_subset), state.pending_retries,
                          taken.canary);
    for (const std::string& subset : {spec.primary_subset, spec.canary_subset}) {
      taken.failed_for_callers += counts(envoy::View::kRequests, callers, subset).low.failures;
    }
    // The instances' own histograms move at different moments, the callers' of both subsets at one.
    taken.primary.latency = ToLatency(CountsOf(callers, spec.primary_subset));
    taken.canary.latency = ToLatency(CountsOf(callers, spec.canary_subset));
    taken.failed_over =
        static_cast<std::int64_t>(CountsOf(callers, spec.canary_subset).failed_over);
    taken.saved_requests =
        static_cast<std::int64_t>(CountsOf(callers, spec.canary_subset).retry_success);
  } else {
    taken.primary = counts(ViewFor(spec.outcomes), callers, spec.primary_subset);
    taken.canary = counts(ViewFor(spec.outcomes), callers, spec.canary_subset);
  }
  taken.canary.late = TakeLate(spec, service, state);
  TakeInstances(spec, service, shielded, state.instance_baselines, taken);
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
