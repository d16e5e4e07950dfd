#include "exporter/collect/mesh_state.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "exporter/collect/gateways.h"

namespace consul_canary::collect {
namespace {

using consul::Instance;

template <class T>
std::optional<T> Entry(const Answer<std::map<std::string, T>>& entries, const std::string& name) {
  if (!entries.value) return std::nullopt;
  const auto it = entries.value->find(name);
  return it == entries.value->end() ? std::nullopt : std::optional<T>(it->second);
}

// The instances of the path; null while it has not been answered.
const std::vector<Instance>* Health(const MeshState& state, const std::string& path) {
  const auto it = state.health.find(path);
  return it == state.health.end() || !it->second.value ? nullptr : &*it->second.value;
}

bool IsKnown(const MeshState& state, const std::string& path) {
  const auto it = state.health.find(path);
  return it != state.health.end() && it->second.value && !it->second.error;
}

std::map<std::string, std::string> SubsetPaths(const MeshState& state, const std::string& service) {
  std::map<std::string, std::string> paths;
  if (const std::optional<consul::Resolver> resolver = Entry(state.resolvers, service)) {
    for (const auto& [subset, filter] : resolver->subset_filters) {
      paths[subset] = consul::Client::ConnectPath(service, filter);
    }
  }
  return paths;
}

bool Calls(const Instance& proxy, const std::string& service) {
  return std::find(proxy.upstreams.begin(), proxy.upstreams.end(), service) !=
         proxy.upstreams.end();
}

bool Concerns(const Instance& proxy, const std::string& service) {
  return proxy.destination_service == service || Calls(proxy, service);
}

// Every known sidecar and gateway; what a gateway calls stands in for its upstreams.
template <class Visitor>
void ForEachProxy(const MeshState& state, const Visitor& visit) {
  static const std::vector<std::string> kNone;
  static const std::vector<Instance> kNobody;
  const auto instances = [&state](const std::string& name) -> const std::vector<Instance>& {
    const std::vector<Instance>* found = Health(state, consul::Client::HealthPath(name));
    return found == nullptr ? kNobody : *found;
  };
  for (const std::string& name : state.proxy_services.value.value_or(kNone)) {
    for (const Instance& proxy : instances(name)) visit(name, proxy);
  }
  for (const std::string& name : state.gateways.value.value_or(kNone)) {
    const auto links = state.gateway_services.find(GatewayServicesPath(name));
    if (links == state.gateway_services.end() || !links->second.value) continue;
    for (Instance gateway : instances(name)) {
      gateway.upstreams = *links->second.value;
      visit(name, gateway);
    }
  }
}

// Envoy's tags cannot tell a subset from a partition by position alone, so the label counts only
// where the resolver knows such a subset.
bool IsSubsetOf(const std::optional<consul::Resolver>& resolver, const std::string& subset) {
  return subset.empty() || !resolver || resolver->subset_filters.contains(subset);
}

CallerReading MakeCaller(const Instance& proxy) {
  CallerReading caller;
  caller.id = ProxyId(proxy);
  const bool is_gateway = proxy.destination_service.empty();
  caller.service = is_gateway ? proxy.service : proxy.destination_service;
  caller.passing = proxy.passing;
  if (const std::optional<ScrapeTarget> target = TargetOf(proxy)) caller.address = target->address;
  return caller;
}

// By ProxyId, the subsets that hold an instance.
using Memberships = std::unordered_map<std::string, std::vector<std::string>>;

Memberships MembershipsOf(const ServiceSnapshot& snapshot) {
  Memberships memberships;
  for (const auto& [subset, members] : snapshot.subset_instances) {
    for (const Instance& member : members) memberships[ProxyId(member)].push_back(subset);
  }
  return memberships;
}

ServerReading MakeServer(const Instance& proxy, const Memberships& memberships) {
  ServerReading server;
  server.id = ProxyId(proxy);
  server.instance_id = proxy.destination_id;
  server.passing = proxy.passing;
  if (const std::optional<ScrapeTarget> target = TargetOf(proxy)) server.address = target->address;
  const auto subsets = memberships.find(server.id);
  if (subsets != memberships.end()) server.subsets = subsets->second;
  return server;
}

// Shared as it is where every subset counts, which is nearly always.
SubsetReadings OwnSubsets(const SubsetReadings& counted,
                          const std::optional<consul::Resolver>& resolver) {
  const auto is_other = [&resolver](const auto& item) { return !IsSubsetOf(resolver, item.first); };
  if (std::none_of(counted.begin(), counted.end(), is_other)) return counted;
  SubsetReadings own = counted;
  std::erase_if(own.Own(), is_other);
  return own;
}

void FillIn(const SidecarReading& reading, const ServiceSnapshot& snapshot, CallerReading& caller) {
  caller.scraped_at = reading.scraped_at;
  caller.error = reading.error;
  caller.applied_at = reading.applied_at;
  const std::string& service = snapshot.service;
  if (const auto it = reading.applied.find(service); it != reading.applied.end()) {
    caller.applied_shares = it->second;
  }
  if (const auto it = reading.services.find(service); it != reading.services.end()) {
    caller.subsets = OwnSubsets(it->second, snapshot.resolver);
  }
  if (const auto it = reading.route_reloads.find(service); it != reading.route_reloads.end()) {
    caller.route_reloads = it->second;
  }
}

ServiceSnapshot MakeService(const MeshState& state, const std::string& service) {
  ServiceSnapshot snapshot;
  snapshot.service = service;
  snapshot.splitter = Entry(state.splitters, service);
  snapshot.resolver = Entry(state.resolvers, service);
  snapshot.router = Entry(state.routers, service);
  const std::string path = consul::Client::HealthPath(service);
  snapshot.instances_known = IsKnown(state, path) && state.resolvers.value.has_value();
  if (const std::vector<Instance>* instances = Health(state, path)) {
    snapshot.instances = *instances;
  }
  for (const auto& [subset, subset_path] : SubsetPaths(state, service)) {
    snapshot.instances_known = snapshot.instances_known && IsKnown(state, subset_path);
    if (const std::vector<Instance>* members = Health(state, subset_path)) {
      snapshot.subset_instances[subset] = *members;
    }
  }
  return snapshot;
}

template <class T>
bool IsAnswered(const Answer<T>& answer) {
  return answer.value || answer.error;
}

}  // namespace

std::set<std::string> ShownServices(const MeshState& state) {
  std::set<std::string> services = state.followed;
  if (state.splitters.value) {
    for (const auto& [name, splitter] : *state.splitters.value) services.insert(name);
  }
  return services;
}

std::vector<std::string> WantedPaths(const MeshState& state) {
  static const std::vector<std::string> kNoNames;
  const std::set<std::string> shown = ShownServices(state);
  std::map<std::string, int> ranks;  // 0 first
  const auto want = [&ranks](const std::string& path, int rank) {
    const auto [it, inserted] = ranks.emplace(path, rank);
    if (!inserted) it->second = std::min(it->second, rank);
  };
  const auto rank_of = [&state](const std::string& service) {
    return state.followed.contains(service) ? 0 : 2;
  };
  for (const std::string& service : shown) {
    want(consul::Client::HealthPath(service), rank_of(service));
    for (const auto& [subset, path] : SubsetPaths(state, service)) want(path, rank_of(service));
  }
  for (const std::string& name : state.proxy_services.value.value_or(kNoNames)) {
    want(consul::Client::HealthPath(name), 4);
  }
  for (const std::string& name : state.gateways.value.value_or(kNoNames)) {
    want(GatewayServicesPath(name), 1);  // few, and without it nothing is known of the gateway
    want(consul::Client::HealthPath(name), 4);
  }
  ForEachProxy(state, [&](const std::string& name, const Instance& proxy) {
    for (const std::string& service : shown) {
      if (Concerns(proxy, service)) want(consul::Client::HealthPath(name), rank_of(service) + 1);
    }
  });
  std::vector<std::string> paths;
  paths.reserve(ranks.size());
  for (const auto& [path, rank] : ranks) paths.push_back(path);
  std::stable_sort(paths.begin(), paths.end(), [&ranks](const auto& left, const auto& right) {
    return ranks.at(left) < ranks.at(right);
  });
  return paths;
}

std::map<std::string, ScrapeTarget> WantedTargets(const MeshState& state) {
  const std::set<std::string> shown = ShownServices(state);
  std::map<std::string, ScrapeTarget> targets;
  ForEachProxy(state, [&](const std::string&, const Instance& proxy) {
    const bool concerned =
        shown.contains(proxy.destination_service) ||
        std::any_of(proxy.upstreams.begin(), proxy.upstreams.end(),
                    [&shown](const std::string& upstream) { return shown.contains(upstream); });
    if (!concerned) return;
    if (std::optional<ScrapeTarget> target = TargetOf(proxy)) {
      targets[ProxyId(proxy)] = *std::move(target);
    }
  });
  return targets;
}

bool IsComplete(const MeshState& state) {
  if (!state.splitters.value || !state.resolvers.value || !state.routers.value ||
      !state.proxy_services.value || !state.gateways.value) {
    return false;
  }
  const std::vector<std::string> wanted = WantedPaths(state);
  return std::all_of(wanted.begin(), wanted.end(), [&state](const std::string& path) {
    const auto health = state.health.find(path);
    if (health != state.health.end()) return IsAnswered(health->second);
    const auto links = state.gateway_services.find(path);
    return links != state.gateway_services.end() && IsAnswered(links->second);
  });
}

std::optional<base::Error> FirstError(const MeshState& state) {
  for (const std::optional<base::Error>* error :
       {&state.heartbeat.error, &state.splitters.error, &state.resolvers.error,
        &state.routers.error, &state.proxy_services.error, &state.gateways.error}) {
    if (*error) return **error;
  }
  // One service's path is no reason to call Consul silent for all: it shows in that service's
  // instances_known.
  return std::nullopt;
}

MeshOutline Outline(const MeshState& state) {
  MeshOutline services;
  std::map<std::string, Memberships> memberships;
  for (const std::string& service : ShownServices(state)) {
    const ServiceSnapshot& made = services[service] = MakeService(state, service);
    memberships[service] = MembershipsOf(made);
  }
  ForEachProxy(state, [&](const std::string&, const Instance& proxy) {
    const std::set<std::string> upstreams(proxy.upstreams.begin(), proxy.upstreams.end());
    for (const std::string& upstream : upstreams) {
      if (const auto it = services.find(upstream); it != services.end()) {
        it->second.callers.push_back(MakeCaller(proxy));
      }
    }
    if (const auto it = services.find(proxy.destination_service); it != services.end()) {
      it->second.servers.push_back(MakeServer(proxy, memberships[it->first]));
    }
  });
  return services;
}

std::map<std::string, std::shared_ptr<const ServiceSnapshot>> Assemble(
    const MeshOutline& outline, const std::map<std::string, SidecarReading>& readings) {
  std::map<std::string, std::shared_ptr<const ServiceSnapshot>> services;
  for (const auto& [name, service] : outline) {
    auto snapshot = std::make_shared<ServiceSnapshot>(service);
    for (CallerReading& caller : snapshot->callers) {
      const auto it = readings.find(caller.id);
      if (it != readings.end()) FillIn(it->second, *snapshot, caller);
    }
    for (ServerReading& server : snapshot->servers) {
      const auto it = readings.find(server.id);
      if (it == readings.end()) continue;
      server.scraped_at = it->second.scraped_at;
      server.error = it->second.error;
      server.local_app = it->second.local_app;
    }
    services.emplace(name, std::move(snapshot));
  }
  return services;
}

}  // namespace consul_canary::collect
