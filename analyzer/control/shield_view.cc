#include "analyzer/control/shield_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "analyzer/control/observe.h"
#include "exporter/collect/instance_readings.h"

namespace consul_canary::control {
namespace {

using collect::CallerReading;
using collect::ServerReading;
using collect::ServiceSnapshot;
using rollout::Spec;

int PassingIn(const ServiceSnapshot& service, const std::string& subset) {
  const auto members = service.subset_instances.find(subset);
  if (members == service.subset_instances.end()) return 0;
  return static_cast<int>(std::ranges::count_if(members->second, &consul::Instance::passing));
}

std::string Lacks(const ServiceSnapshot& service) {
  if (!service.router || service.router->retries.empty()) {
    return "the service-router retries nothing";
  }
  const auto connects = [](const consul::RetryRule& rule) { return rule.on_connect_failure; };
  if (!std::ranges::all_of(service.router->retries, connects)) {
    return "a route of the service-router retries without RetryOnConnectFailure";
  }
  for (const CallerReading& caller : service.callers) {
    if (caller.passing && caller.ejects == false) {
      return fmt::format("caller {} does not eject instances that fail", caller.id);
    }
  }
  return "";
}

}  // namespace

std::optional<rollout::ShieldView> ShieldOf(const Spec& spec, const ServiceSnapshot& service) {
  if (spec.shield == rollout::ShieldUse::kIgnore || !service.resolver) return std::nullopt;
  if (service.resolver->FailoverOf(spec.canary_subset) != spec.primary_subset) return std::nullopt;
  // What the primary cannot take must not come back to the canary, or neither's attempts are its
  // own.
  if (service.resolver->FailoverOf(spec.primary_subset)) return std::nullopt;
  const auto callers = std::ranges::count_if(service.callers, &CallerReading::passing);
  return rollout::ShieldView{.ejecting = std::max(1, PassingIn(service, spec.canary_subset)) *
                                         std::max(1, static_cast<int>(callers)),
                             .retried = service.router && !service.router->retries.empty(),
                             .lacks = Lacks(service)};
}

bool MixesSubsets(const Spec& spec, const CallerReading& caller) {
  const auto fails_over = [&caller](const std::string& subset) {
    const auto found = caller.subsets.find(subset);
    return found != caller.subsets.end() && found->second.has_failover;
  };
  return fails_over(spec.canary_subset) || fails_over(spec.primary_subset);
}

std::string InstanceKey(const ServerReading& server, const std::string& subset) {
  return server.id + "#" + subset;
}

std::map<std::string, envoy::SubsetOutcomes> InstancesNow(const Spec& spec,
                                                          const ServiceSnapshot& service) {
  std::map<std::string, envoy::SubsetOutcomes> now;
  for (const ServerReading& server : service.servers) {
    if (!server.local_app) continue;
    const auto holds = [&server](const std::string& subset) {
      return std::ranges::find(server.subsets, subset) != server.subsets.end();
    };
    // While promoting, the primary subset has the canary's instances as well.
    const std::string& subset =
        holds(spec.canary_subset) ? spec.canary_subset : spec.primary_subset;
    if (!holds(subset)) continue;
    now[InstanceKey(server, subset)][subset] = envoy::ToOutcomeCounters(*server.local_app);
  }
  return now;
}

std::string WhyAttemptsUnknown(const Spec& spec, const ServiceSnapshot& service,
                               base::MonotonicTime now) {
  for (const std::string& subset : {spec.canary_subset, spec.primary_subset}) {
    const auto unread = collect::UnreadInstances(service, {subset}, now, kFreshFor);
    if (unread.empty()) continue;
    return fmt::format(
        "behind the shield the instances' own sidecars are judged, and of {} nothing is known: {}",
        unread.front().instance_id, unread.front().reason);
  }
  return "";
}

}  // namespace consul_canary::control
