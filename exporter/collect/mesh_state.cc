#include "exporter/collect/mesh_state.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

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

// Envoy's tags cannot tell a subset from a partition by position alone, so the label counts only
// where the resolver knows such a subset.
bool IsSubsetOf(const std::optional<consul::Resolver>& resolver, const std::string& subset) {
  return subset.empty() || !resolver || resolver->subset_filters.contains(subset);
}

std::optional<int> EjectsAfter(const Instance& proxy, const std::string& service) {
  const auto ejecting = proxy.ejecting_upstreams.find(service);
  if (ejecting != proxy.ejecting_upstreams.end()) return ejecting->second;
  const bool is_told = std::ranges::find(proxy.upstreams, service) != proxy.upstreams.end();
  return is_told ? std::optional(0) : std::nullopt;
}

CallerReading MakeCaller(const KnownProxy& proxy) {
  const Instance& instance = proxy.instance;
  CallerReading caller;
  caller.id = ProxyId(instance);
  const bool is_gateway = instance.destination_service.empty();
  caller.service = is_gateway ? instance.service : instance.destination_service;
  caller.passing = instance.passing;
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

ServerReading MakeServer(const KnownProxy& proxy, const Memberships& memberships) {
  ServerReading server;
  server.id = ProxyId(proxy.instance);
  server.instance_id = proxy.instance.destination_id;
  server.passing = proxy.instance.passing;
  if (const std::optional<ScrapeTarget> target = TargetOf(proxy)) server.address = target->address;
  const auto subsets = memberships.find(server.id);
  if (subsets != memberships.end()) {
    server.subsets = subsets->second;
  } else if (proxy.from_file != nullptr) {
    // What the file says of the instance stands in for Consul where that may not be asked.
    server.subsets = proxy.from_file->subsets;
  }
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

// A proxy that may call more does call what it has counters of.
void AddCalled(const OpenCaller& open, const std::map<std::string, SidecarReading>& readings,
               std::map<std::string, std::shared_ptr<ServiceSnapshot>>& services) {
  const auto reading = readings.find(open.caller.id);
  if (reading == readings.end()) return;
  for (const auto& [called, counters] : reading->second.services) {
    const auto service = services.find(called);
    if (service == services.end() || open.known.contains(called)) continue;
    CallerReading& caller = service->second->callers.emplace_back(open.caller);
    FillIn(reading->second, *service->second, caller);
  }
}

void TakeEntries(const MeshState& state, ServiceSnapshot& snapshot) {
  snapshot.splitter = Entry(state.splitters, snapshot.service);
  snapshot.resolver = Entry(state.resolvers, snapshot.service);
  snapshot.router = Entry(state.routers, snapshot.service);
}

ServiceSnapshot MakeService(const MeshState& state, const std::string& service) {
  ServiceSnapshot snapshot;
  snapshot.service = service;
  TakeEntries(state, snapshot);
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

MeshOutline Outline(const MeshState& state) {
  MeshOutline outline;
  std::map<std::string, Memberships> memberships;
  const std::set<std::string> shown = ShownServices(state);
  for (const std::string& service : shown) {
    const ServiceSnapshot& made = outline.services[service] = MakeService(state, service);
    memberships[service] = MembershipsOf(made);
  }
  ForEachProxy(state, shown, [&](const KnownProxy& proxy) {
    for (const std::string_view called : proxy.calls) {
      CallerReading& caller =
          outline.services.at(std::string(called)).callers.emplace_back(MakeCaller(proxy));
      caller.ejects_after = EjectsAfter(proxy.instance, std::string(called));
    }
    const std::string& own = proxy.instance.destination_service;
    if (proxy.may_call_more) {
      OpenCaller open{.caller = MakeCaller(proxy), .known = {own}};
      open.known.insert(proxy.calls.begin(), proxy.calls.end());
      outline.open_callers.push_back(std::move(open));
    }
    const auto it = outline.services.find(own);
    if (it != outline.services.end()) {
      it->second.servers.push_back(MakeServer(proxy, memberships[own]));
    }
  });
  return outline;
}

void UpdateEntries(const MeshState& state, MeshOutline& outline) {
  for (auto& [name, service] : outline.services) TakeEntries(state, service);
}

std::map<std::string, std::shared_ptr<const ServiceSnapshot>> Assemble(
    const MeshOutline& outline, const std::map<std::string, SidecarReading>& readings) {
  std::map<std::string, std::shared_ptr<ServiceSnapshot>> services;
  for (const auto& [name, service] : outline.services) {
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
  for (const OpenCaller& open : outline.open_callers) AddCalled(open, readings, services);
  return {services.begin(), services.end()};
}

}  // namespace consul_canary::collect
