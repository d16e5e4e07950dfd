// How a churning mesh is read, and what its ledgers take in.
#include <algorithm>
#include <iterator>
#include <utility>

#include "tests/churn/churning_mesh.h"

namespace consul_canary::churn {
namespace {

// How long metrics remember a sidecar that left Consul.
constexpr base::seconds kRemembered{600};

std::uint64_t MostErrors(const EnvoyCluster& cluster) {
  std::uint64_t most = 0;
  for (const auto* codes : {&cluster.responses, &cluster.retried_responses}) {
    for (auto it = codes->lower_bound(400); it != codes->end(); ++it) {
      most = std::max(most, it->second);
    }
  }
  return most;
}

std::uint64_t MostCalls(const EnvoyCluster& cluster) {
  std::map<int, std::uint64_t> by_status;
  std::uint64_t most = 0;
  for (const auto& [key, count] : cluster.grpc_statuses) {
    most = std::max(most, by_status[key.second] += count);
  }
  return most;
}

}  // namespace

Place ChurningMesh::InstancePlace(const Sidecar& instance) {
  return {instance.service, instance.id + " in " + instance.subset, instance.subset};
}

std::optional<envoy::SidecarPage> ChurningMesh::Read(const std::string& sidecar_id) {
  auto found = callers_.find(sidecar_id);
  if (found == callers_.end()) found = instances_.find(sidecar_id);
  Sidecar& sidecar = found->second;
  if (now_ < sidecar.silent_until) {
    ++mishaps_.missed_pages;
    return std::nullopt;
  }
  const std::set<envoy::Destination> left_out = LeftOut(sidecar);
  EnvoySidecar envoy;
  for (auto& [destination, cluster] : sidecar.clusters) {
    envoy.clusters.emplace(destination, &cluster.envoy);
    if (!cluster.envoy.IsShown() || left_out.contains(destination)) continue;
    sidecar.shown[destination] = cluster.envoy.completed > 0;
    NoteRead(cluster);
  }
  if (sidecar.local_app) {
    envoy.local_app = &sidecar.local_app->envoy;
    NoteRead(*sidecar.local_app);
  }
  sidecar.is_read = sidecar.has_reading = sidecar.may_hang = true;
  if (!sidecar.writes_text) return PageValues(envoy, left_out);
  return envoy::ReadSidecarPage(PageText(envoy, left_out));
}

// At most one, of a service where all who read know the sidecar: for others what it lacks at first
// would be new later.
std::set<envoy::Destination> ChurningMesh::LeftOut(const Sidecar& sidecar) {
  if (sidecar.clusters.empty() || !OneIn(40)) return {};
  const auto picked = std::next(sidecar.clusters.begin(),
                                static_cast<std::ptrdiff_t>(Below(sidecar.clusters.size())));
  const std::string& service = picked->first.service;
  if (!metrics_.Knows(service, sidecar.id) || !analyzer_callers_.Knows(service, sidecar.id)) {
    return {};
  }
  ++mishaps_.pages_without_a_subset;
  return {picked->first};
}

void ChurningMesh::NoteRead(Cluster& cluster) {
  cluster.read_completed = cluster.envoy.completed;
  cluster.read_errors = MostErrors(cluster.envoy);
  cluster.read_calls = MostCalls(cluster.envoy);
  cluster.read_timed = cluster.envoy.times.count;
  cluster.allowance = Cluster::kNoLimit;
}

void ChurningMesh::EndTick() {
  std::set<std::string> registered;
  for (const auto& [id, caller] : callers_) {
    if (caller.is_registered) registered.insert(id);
  }
  for (const auto& [name, service] : services_) {
    if (!service.is_ruled) analyzer_callers_.ForgetAllBut(name, registered);
  }
  for (auto& [id, caller] : callers_) EndTickOfCaller(caller);
  for (auto& [id, instance] : instances_) EndTickOfInstance(instance);
  metrics_.ForgetUnreadSince(now_ - kRemembered);
  failover_callers_.ForgetUnreadSince(now_ - kRemembered);
}

void ChurningMesh::EndTickOfCaller(Sidecar& caller) {
  const auto shown = std::exchange(caller.shown, {});
  caller.is_read = false;
  if (!caller.has_reading) return;
  std::map<std::string, Ledger::Shown> shown_by_service;
  for (const auto& [destination, cluster] : caller.clusters) {
    Ledger::Shown& subsets = shown_by_service[destination.service];
    const auto found = shown.find(destination);
    if (found != shown.end()) subsets[destination.subset] = found->second;
  }
  for (const auto& [service, subsets] : shown_by_service) {
    if (services_.at(service).kind == Kind::kFailover) {
      failover_callers_.Read(service, caller.id, subsets, now_);
      continue;
    }
    metrics_.Read(service, caller.id, subsets, now_);
    analyzer_callers_.Read(service, caller.id, subsets, now_);
  }
}

void ChurningMesh::EndTickOfInstance(Sidecar& instance) {
  const bool is_read = std::exchange(instance.is_read, false);
  if (!instance.has_reading) return;
  Ledger::Shown shown;
  if (is_read) shown[instance.subset] = instance.local_app->envoy.completed > 0;
  if (services_.at(instance.service).kind == Kind::kFailover) {
    metrics_.Read(instance.service, InstancePlace(instance).sidecar, shown, now_);
  } else if (instance.subset == kPrimary) {
    analyzer_instances_.Read(instance.service, instance.id, shown, now_);
  }
}

}  // namespace consul_canary::churn
