#include "analyzer/control/observe.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace consul_canary::control {
namespace {

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

std::string VersionOf(const consul::Instance& instance, const Spec& spec) {
  const auto found = instance.meta.find(spec.version_key);
  return found == instance.meta.end() ? "" : found->second;
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
  seen.canary_passing = static_cast<int>(passing(spec.canary_subset).size());
  const auto primaries = passing(spec.primary_subset);
  seen.primary_passing = static_cast<int>(primaries.size());
  for (const consul::Instance* instance : primaries) {
    std::string version = VersionOf(*instance, spec);
    auto& versions = seen.primary_versions;
    if (std::find(versions.begin(), versions.end(), version) == versions.end()) {
      versions.push_back(std::move(version));
    }
  }
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

std::string WhyUnusable(const ServiceSnapshot& service) {
  if (!service.splitter) return "the service has no service-splitter entry";
  if (!service.resolver) return "the service has no service-resolver entry";
  if (service.resolver->has_failover) {
    return "the service-resolver has Failover: the callers' counters then mix the subsets, and no "
           "outcome can be told";
  }
  return "";
}

}  // namespace

Observation Observe(const Spec& spec, const collect::MeshSnapshot& mesh,
                    const ServiceSnapshot* service, base::MonotonicTime now) {
  Observation seen;
  if (mesh.consul_error) {
    seen.unknown = "Consul does not answer: " + mesh.consul_error->message;
  } else if (!mesh.ready || service == nullptr) {
    seen.unknown = "the mesh has not been read yet";
  } else {
    seen.unknown = WhyUnusable(*service);
  }
  if (service == nullptr) return seen;
  if (service->splitter) seen.splitter = ViewOf(*service->splitter, spec);
  if (service->resolver) seen.resolver_epoch = EpochOf(service->resolver->meta);
  AddSubsets(*service, spec, seen);
  seen.versions = VersionsOf(*service, spec);
  seen.instances_known = service->instances_known && !mesh.consul_error;
  for (const CallerReading& caller : service->callers) {
    if (caller.passing) seen.callers.push_back(FactsOf(caller, spec, now));
  }
  seen.primary_history = PrimaryHistory(spec, *service);
  return seen;
}

rollout::TickCounts TakeCounts(const Spec& spec, const ServiceSnapshot& service,
                               envoy::Baselines& baselines) {
  std::map<std::string, envoy::SubsetOutcomes> now;
  for (const CallerReading& caller : service.callers) {
    if (!caller.scraped_at) continue;
    envoy::SubsetOutcomes& outcomes = now[caller.id];
    for (const auto& [subset, counters] : caller.subsets) {
      outcomes[subset] = envoy::ToOutcomeCounters(counters);
    }
  }
  const envoy::TickOutcomes tick = envoy::Advance(baselines, now);
  const auto outcomes = [&](const std::string& subset) {
    const auto found = tick.by_subset.find(subset);
    if (found == tick.by_subset.end()) return envoy::Outcomes{};
    return envoy::Apply(ViewFor(spec.outcomes), found->second, RetriesOf(service));
  };
  const envoy::Outcomes primary = outcomes(spec.primary_subset);
  const envoy::Outcomes canary = outcomes(spec.canary_subset);
  return {.harm_primary = Bound(primary, true),
          .harm_canary = Bound(canary, false),
          .safe_primary = Bound(primary, false),
          .safe_canary = Bound(canary, true)};
}

void ForgetGoneCallers(const ServiceSnapshot& service, envoy::Baselines& baselines) {
  std::set<std::string> known;
  for (const CallerReading& caller : service.callers) known.insert(caller.id);
  std::erase_if(baselines, [&known](const auto& entry) { return !known.contains(entry.first); });
}

stats::Counts PrimaryHistory(const Spec& spec, const ServiceSnapshot& service) {
  envoy::OutcomeCounters total;
  for (const CallerReading& caller : service.callers) {
    const auto found = caller.subsets.find(spec.primary_subset);
    if (found != caller.subsets.end()) total += envoy::ToOutcomeCounters(found->second);
  }
  return Bound(envoy::Apply(ViewFor(spec.outcomes), total, RetriesOf(service)), true);
}

}  // namespace consul_canary::control
