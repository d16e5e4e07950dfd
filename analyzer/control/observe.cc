#include "analyzer/control/observe.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "analyzer/control/entry_writer.h"
#include "analyzer/control/match_routes.h"
#include "analyzer/control/shield_view.h"
#include "analyzer/control/take_counts.h"

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

constexpr const char* kInstancesLeftOut =
    "Consul leaves out instances of the service that the token may not read";

// Who is not there may only not be shown to us.
bool LacksInstances(const collect::MeshSnapshot& mesh, const ServiceSnapshot& service) {
  const std::string name = base::UrlEncode(service.service);
  return mesh.left_out.contains("GET /v1/health/connect/" + name) ||
         mesh.left_out.contains("GET /v1/health/service/" + name);
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
  // Behind a shield the primary's retries are taken out, and the canary's go to the primary.
  seen.attempts_together = seen.shield ? 1 : AttemptsTogether(spec, *service);
  if (service->router) seen.request_timeout_seconds = service->router->request_timeout_seconds;
  const rollout::SubsetTick history = PrimaryHistory(spec, *service);
  seen.primary_history = history.high;
  seen.primary_latency_history = history.latency;
  return seen;
}

}  // namespace consul_canary::control
