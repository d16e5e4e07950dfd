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

// The mean over the callers that were read lately: one of many that keeps an instance out for its
// base time now and then is no sign of anything.
double EjectedNow(const Spec& spec, const ServiceSnapshot& service, base::MonotonicTime now) {
  const auto passing = static_cast<double>(PassingIn(service, spec.canary_subset));
  double shares = 0;
  int callers = 0;
  for (const CallerReading& caller : service.callers) {
    const auto canary = caller.subsets.find(spec.canary_subset);
    if (!caller.passing || !caller.scraped_at || now - *caller.scraped_at > kFreshFor ||
        canary == caller.subsets.end()) {
      continue;
    }
    const auto ejected = static_cast<double>(canary->second.ejections_active);
    if (ejected > 0) shares += ejected / std::max(ejected, passing);
    ++callers;
  }
  return callers > 0 ? shares / callers : 0;
}

// As `consul-canaryctl check` has it.
std::string WhyNotRetried(const consul::Route& route) {
  if (!route.meets_splitter() || route.must_not_repeat()) return "";
  if (!route.retries) return "retries nothing";
  if (!route.retries->on_connect_failure) return "retries without RetryOnConnectFailure";
  return route.retries->takes_server_faults() ? "" : "does not retry all of 500, 502, 503 and 504";
}

// Of the caller that waits longest: too many make the evidence weaker by little, too few by much.
int FailuresInARow(const ServiceSnapshot& service) {
  int failures = 1;
  for (const CallerReading& caller : service.callers) {
    if (caller.passing) failures = std::max(failures, caller.ejects_after.value_or(1));
  }
  return failures;
}

std::string Lacks(const ServiceSnapshot& service) {
  if (!service.router || service.router->retries.empty()) {
    return "the service-router retries nothing";
  }
  for (const consul::Route& route : service.router->routes) {
    if (const std::string why = WhyNotRetried(route); !why.empty()) {
      return fmt::format("the service-router's {} {}", route.name, why);
    }
  }
  for (const CallerReading& caller : service.callers) {
    if (caller.passing && caller.ejects_after == 0) {
      return fmt::format("caller {} does not eject instances that fail", caller.id);
    }
  }
  return "";
}

}  // namespace

bool IsShielded(const Spec& spec, const ServiceSnapshot& service) {
  if (spec.shield == rollout::ShieldUse::kIgnore || !service.resolver) return false;
  // What the primary cannot take must not come back to the canary, or neither's attempts are its
  // own.
  return service.resolver->FailsOverOnly(spec.canary_subset, spec.primary_subset);
}

std::optional<rollout::ShieldView> ShieldOf(const Spec& spec, const ServiceSnapshot& service,
                                            base::MonotonicTime now) {
  if (!IsShielded(spec, service)) return std::nullopt;
  const auto callers = std::ranges::count_if(service.callers, &CallerReading::passing);
  return rollout::ShieldView{.ejecting = std::max(1, PassingIn(service, spec.canary_subset)) *
                                         std::max(1, static_cast<int>(callers)),
                             .retried = service.router && !service.router->retries.empty(),
                             .failures_in_a_row = FailuresInARow(service),
                             .ejected = EjectedNow(spec, service, now),
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

const std::string* SubsetOf(const Spec& spec, const ServerReading& server) {
  for (const std::string* subset : {&spec.canary_subset, &spec.primary_subset}) {
    if (std::ranges::find(server.subsets, *subset) != server.subsets.end()) return subset;
  }
  return nullptr;
}

std::map<std::string, envoy::SubsetOutcomes> InstancesNow(const Spec& spec,
                                                          const ServiceSnapshot& service) {
  std::map<std::string, envoy::SubsetOutcomes> now;
  for (const ServerReading& server : service.servers) {
    if (!server.local_app) continue;
    const std::string* subset = SubsetOf(spec, server);
    if (subset == nullptr) continue;
    now[InstanceKey(server, *subset)][*subset] = envoy::ToOutcomeCounters(*server.local_app);
  }
  return now;
}

std::string WhyAttemptsUnknown(const Spec& spec, const ServiceSnapshot& service,
                               base::MonotonicTime now) {
  for (const std::string& subset : {spec.canary_subset, spec.primary_subset}) {
    const auto unread = collect::UnreadInstances(service, subset, now, kFreshFor);
    if (unread.empty()) continue;
    return fmt::format(
        "behind the shield the instances' own sidecars are judged, and of {} nothing is known: {}",
        unread.front().instance_id, unread.front().reason);
  }
  return "";
}

}  // namespace consul_canary::control
