#include "exporter/collect/mesh_state.h"

#include <algorithm>

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

SidecarReading ReadingOf(const std::map<std::string, SidecarReading>& readings,
                         const std::string& id) {
  const auto it = readings.find(id);
  return it == readings.end() ? SidecarReading() : it->second;
}

// Envoy's tags cannot tell a subset from a partition by position alone, so the label counts only
// where the resolver knows such a subset.
bool IsSubsetOf(const std::optional<consul::Resolver>& resolver, const std::string& subset) {
  return subset.empty() || !resolver || resolver->subset_filters.contains(subset);
}

CallerReading MakeCaller(const Instance& proxy, const SidecarReading& reading,
                         const ServiceSnapshot& snapshot) {
  CallerReading caller;
  caller.id = ProxyId(proxy);
  const bool is_gateway = proxy.destination_service.empty();
  caller.service = is_gateway ? proxy.service : proxy.destination_service;
  caller.passing = proxy.passing;
  if (const std::optional<ScrapeTarget> target = TargetOf(proxy)) caller.address = target->address;
  caller.scraped_at = reading.scraped_at;
  caller.error = reading.error;
  caller.applied_at = reading.applied_at;
  if (const auto it = reading.applied.find(snapshot.service); it != reading.applied.end()) {
    caller.applied_shares = it->second;
  }
  if (!reading.page) return caller;
  const envoy::SidecarPage& page = *reading.page;
  for (auto it = page.subsets.lower_bound({snapshot.service, ""});
       it != page.subsets.end() && it->first.service == snapshot.service; ++it) {
    if (IsSubsetOf(snapshot.resolver, it->first.subset)) {
      caller.subsets[it->first.subset] = it->second;
    }
  }
  if (const auto it = page.route_reloads.find(snapshot.service); it != page.route_reloads.end()) {
    caller.route_reloads = it->second;
  }
  return caller;
}

ServerReading MakeServer(const Instance& proxy, const SidecarReading& reading,
                         const ServiceSnapshot& snapshot) {
  ServerReading server;
  server.id = ProxyId(proxy);
  server.instance_id = proxy.destination_id;
  server.passing = proxy.passing;
  if (const std::optional<ScrapeTarget> target = TargetOf(proxy)) server.address = target->address;
  for (const auto& [subset, members] : snapshot.subset_instances) {
    const bool is_member =
        std::any_of(members.begin(), members.end(),
                    [&server](const Instance& member) { return ProxyId(member) == server.id; });
    if (is_member) server.subsets.push_back(subset);
  }
  server.scraped_at = reading.scraped_at;
  server.error = reading.error;
  if (reading.page) server.local_app = reading.page->local_app;
  return server;
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

std::map<std::string, std::shared_ptr<const ServiceSnapshot>> Assemble(
    const MeshState& state, const std::map<std::string, SidecarReading>& readings) {
  std::map<std::string, ServiceSnapshot> services;
  for (const std::string& service : ShownServices(state)) {
    services[service] = MakeService(state, service);
  }
  ForEachProxy(state, [&](const std::string&, const Instance& proxy) {
    const SidecarReading reading = ReadingOf(readings, ProxyId(proxy));
    std::set<std::string> upstreams(proxy.upstreams.begin(), proxy.upstreams.end());
    for (const std::string& upstream : upstreams) {
      if (const auto it = services.find(upstream); it != services.end()) {
        it->second.callers.push_back(MakeCaller(proxy, reading, it->second));
      }
    }
    if (const auto it = services.find(proxy.destination_service); it != services.end()) {
      it->second.servers.push_back(MakeServer(proxy, reading, it->second));
    }
  });
  std::map<std::string, std::shared_ptr<const ServiceSnapshot>> shared;
  for (auto& [name, service] : services) {
    shared[name] = std::make_shared<const ServiceSnapshot>(std::move(service));
  }
  return shared;
}

}  // namespace consul_canary::collect
