#include "exporter/collect/mesh_state.h"

#include <algorithm>

#include "exporter/collect/gateways.h"
#include "exporter/collect/known_proxies.h"

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

// What the file says of the instance stands in for Consul where that may not be asked.
void AddSubsets(const KnownProxy& proxy, ServerReading& server) {
  if (proxy.from_file == nullptr || !server.subsets.empty()) return;
  server.subsets = proxy.from_file->subsets;
}

// Static targets are for those who may not ask.
bool IsForbidden(const MeshState& state, const Answer<std::vector<std::string>>& names) {
  return !state.static_targets.empty() && names.error &&
         names.error->code == base::ErrorCode::kForbidden;
}

bool HasCatalog(const MeshState& state, const Answer<std::vector<std::string>>& names) {
  return names.value || IsForbidden(state, names);
}

template <class T>
bool IsAnswered(const Answer<T>& answer) {
  return answer.value || answer.error;
}

// The default is asked for after the first answer.
bool KnowsIntentions(const MeshState& state) {
  return state.intentions.error || (state.intentions.value && IsAnswered(state.allowed_by_default));
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
  constexpr int kNoRank = 9;
  const std::set<std::string> shown = ShownServices(state);
  std::map<std::string, int> ranks;  // 0 first
  const auto want = [&ranks](const std::string& path, int rank) {
    const auto [it, inserted] = ranks.emplace(path, rank);
    if (!inserted) it->second = std::min(it->second, rank);
  };
  const std::set<std::string_view> followed(state.followed.begin(), state.followed.end());
  const auto rank_of = [&followed](std::string_view service) {
    return followed.contains(service) ? 0 : 2;
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
  std::map<std::string_view, int> proxy_ranks;  // of names that concern a shown service
  ForEachProxy(state, shown, [&](const KnownProxy& proxy) {
    if (proxy.name.empty()) return;
    int rank = kNoRank;
    const std::string& own = proxy.instance.destination_service;
    if (shown.contains(own)) rank = rank_of(own) + 1;
    for (const std::string_view service : proxy.calls) {
      rank = std::min(rank, rank_of(service) + 1);
    }
    if (rank == kNoRank) return;
    const auto [it, inserted] = proxy_ranks.emplace(proxy.name, rank);
    it->second = std::min(it->second, rank);
  });
  for (const auto& [name, rank] : proxy_ranks) want(consul::Client::HealthPath(name), rank);
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
  ForEachProxy(state, shown, [&](const KnownProxy& proxy) {
    const bool concerned = proxy.may_call_more ||
                           shown.contains(proxy.instance.destination_service) ||
                           !proxy.calls.empty();
    if (!concerned) return;
    if (std::optional<ScrapeTarget> target = TargetOf(proxy)) {
      targets[ProxyId(proxy.instance)] = *std::move(target);
    }
  });
  return targets;
}

bool IsComplete(const MeshState& state) {
  if (!state.splitters.value || !state.resolvers.value || !state.routers.value ||
      !HasCatalog(state, state.proxy_services) || !HasCatalog(state, state.gateways)) {
    return false;
  }
  if (HasTransparentProxy(state) && !KnowsIntentions(state)) return false;
  const std::vector<std::string> wanted = WantedPaths(state);
  return std::all_of(wanted.begin(), wanted.end(), [&state](const std::string& path) {
    const auto health = state.health.find(path);
    if (health != state.health.end()) return IsAnswered(health->second);
    const auto links = state.gateway_services.find(path);
    return links != state.gateway_services.end() && IsAnswered(links->second);
  });
}

std::optional<base::Error> FirstError(const MeshState& state) {
  for (const std::optional<base::Error>* error : {&state.heartbeat.error, &state.splitters.error,
                                                  &state.resolvers.error, &state.routers.error}) {
    if (*error) return **error;
  }
  for (const auto* names : {&state.proxy_services, &state.gateways}) {
    if (names->error && !IsForbidden(state, *names)) return names->error;
  }
  // One service's path is no reason to call Consul silent for all: it shows in that service's
  // instances_known.
  return std::nullopt;
}

std::map<std::string, base::Error> Failures(const MeshState& state) {
  std::map<std::string, base::Error> failures;
  const auto add = [&failures](const char* question, const auto& answer) {
    if (answer.error) failures.emplace(question, *answer.error);
  };
  add("leader", state.heartbeat);
  add("service-splitter", state.splitters);
  add("service-resolver", state.resolvers);
  add("service-router", state.routers);
  for (const auto& [kind, answer] : state.defaults) add(kind.c_str(), answer);
  add("proxies", state.proxy_services);
  add("gateways", state.gateways);
  add("failing checks", state.failing_checks);
  add("intentions", state.intentions);
  add("intentions", state.allowed_by_default);
  for (const auto& [path, answer] : state.health) add("health", answer);
  for (const auto& [path, answer] : state.gateway_services) add("gateway services", answer);
  return failures;
}

bool HasTransparentProxy(const MeshState& state) {
  return std::any_of(state.health.begin(), state.health.end(), [](const auto& path) {
    const std::vector<Instance>* instances = path.second.value ? &*path.second.value : nullptr;
    return instances != nullptr &&
           std::any_of(instances->begin(), instances->end(),
                       [](const Instance& instance) { return instance.transparent; });
  });
}

base::Result<PathValue> ReadPath(std::string_view path, std::string_view body) {
  if (path.starts_with(GatewayServicesPath(""))) {
    base::Result<std::vector<std::string>> names = ParseGatewayServices(body);
    if (!names) return tl::unexpected(names.error());
    return *std::move(names);
  }
  base::Result<std::vector<Instance>> instances = consul::ParseInstances(body);
  if (!instances) return tl::unexpected(instances.error());
  return *std::move(instances);
}

std::set<std::string> PathsOf(const MeshState& state,
                              const std::set<consul::FailingCheck>& checks) {
  std::set<std::pair<std::string_view, std::string_view>> concerned;  // node, service id
  for (const consul::FailingCheck& check : checks) concerned.emplace(check.node, check.service_id);
  std::set<std::string> paths;
  for (const auto& [path, answer] : state.health) {
    if (!answer.value) continue;
    const bool concerns =
        std::any_of(answer.value->begin(), answer.value->end(), [&](const Instance& instance) {
          return concerned.contains({instance.node, instance.id}) ||
                 concerned.contains({instance.node, ""});
        });
    if (concerns) paths.insert(path);
  }
  for (const consul::FailingCheck& check : checks) {
    if (check.service.empty()) continue;
    const std::string path = consul::Client::HealthPath(check.service);
    paths.insert(path);
    const std::vector<Instance>* siblings = Health(state, path);
    if (siblings == nullptr || siblings->empty()) continue;
    for (const auto& [subset, subset_path] :
         SubsetPaths(state, siblings->front().destination_service)) {
      paths.insert(subset_path);
    }
  }
  return paths;
}

std::map<std::string, std::shared_ptr<const ServiceSnapshot>> Assemble(
    const MeshState& state, const std::map<std::string, SidecarReading>& readings) {
  std::map<std::string, ServiceSnapshot> services;
  const std::set<std::string> shown = ShownServices(state);
  for (const std::string& service : shown) services[service] = MakeService(state, service);
  ForEachProxy(state, shown, [&](const KnownProxy& proxy) {
    const SidecarReading reading = ReadingOf(readings, ProxyId(proxy.instance));
    for (const std::string_view called : CallsOf(proxy, shown, reading.page.get())) {
      ServiceSnapshot& service = services.at(std::string(called));
      service.callers.push_back(MakeCaller(proxy.instance, reading, service));
    }
    const auto own = services.find(proxy.instance.destination_service);
    if (own == services.end()) return;
    own->second.servers.push_back(MakeServer(proxy.instance, reading, own->second));
    AddSubsets(proxy, own->second.servers.back());
  });
  std::map<std::string, std::shared_ptr<const ServiceSnapshot>> shared;
  for (auto& [name, service] : services) {
    shared[name] = std::make_shared<const ServiceSnapshot>(std::move(service));
  }
  return shared;
}

}  // namespace consul_canary::collect
