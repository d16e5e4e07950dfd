#include "tests/churn/churning_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace consul_canary::churn {
namespace {

// Longer than any sidecar stays silent: until a name comes back, every page with it is forgotten.
constexpr base::seconds kNameRests{1200};
constexpr base::seconds kLongSilence{750};

}  // namespace

ChurningMesh::ChurningMesh(std::uint64_t seed, const ChurnSize& size) : random_(seed), size_(size) {
  for (std::uint64_t i = 0; i < kKinds; ++i) BeginService(/*is_permanent=*/true);
  for (int i = 0; i < 2; ++i) BeginCaller(/*is_permanent=*/true);
}

void ChurningMesh::Step(base::MonotonicTime now, bool calm) {
  now_ = now;
  if (calm) {
    CalmDown();
  } else {
    ChurnServices();
    ChurnCallers();
    ChurnInstances();
  }
  for (auto& [id, caller] : callers_) Traffic(caller);
  for (auto& [id, instance] : instances_) {
    if (!OneIn(4)) FlushAll(instance);
  }
}

void ChurningMesh::CalmDown() {
  std::vector<std::string> ending;
  for (auto& [name, service] : services_) {
    service.is_ruled = false;
    if (!service.is_permanent) ending.push_back(name);
  }
  for (const std::string& name : ending) EndService(name);
  for (Sidecars* sidecars : {&callers_, &instances_}) {
    for (auto it = sidecars->begin(); it != sidecars->end();) {
      it->second.silent_until = now_;
      if (!std::exchange(it->second.is_registered, true)) catalog_changed_ = true;
      it = it->second.is_permanent ? std::next(it) : Remove(*sidecars, it);
    }
  }
}

void ChurningMesh::ChurnServices() {
  std::vector<std::string> ending;
  for (auto& [name, service] : services_) {
    if (!service.is_permanent && OneIn(700)) ending.push_back(name);
    if (OneIn(300)) service.is_ruled = !service.is_ruled;
    if (OneIn(100)) service.canary_percent = Below(10) * 10;
  }
  for (const std::string& name : ending) EndService(name);
  if (services_.size() < size_.services && OneIn(40)) BeginService(/*is_permanent=*/false);
}

void ChurningMesh::ChurnCallers() {
  for (auto it = callers_.begin(); it != callers_.end();) {
    Sidecar& caller = it->second;
    LeaveOrReturn(caller);
    if (!caller.is_permanent && OneIn(900)) {
      it = Remove(callers_, it);
      continue;
    }
    Mishap(caller);
    if (OneIn(150)) Rebuild(caller);
    ++it;
  }
  if (callers_.size() < size_.callers && OneIn(10)) BeginCaller(/*is_permanent=*/false);
}

void ChurningMesh::ChurnInstances() {
  for (auto it = instances_.begin(); it != instances_.end();) {
    Sidecar& instance = it->second;
    if (!instance.is_permanent && OneIn(700)) {
      it = Remove(instances_, it);
      continue;
    }
    Mishap(instance);
    // While its sidecar is silent, nobody could tell what it served in which subset.
    if (!instance.is_permanent && instance.silent_until <= now_ && OneIn(100)) {
      MoveInstance(instance);
    }
    ++it;
  }
  for (const auto& [name, service] : services_) {
    if (OneIn(250)) BeginInstance(service, OneIn(2) ? kCanary : kPrimary, false);
  }
}

void ChurningMesh::MoveInstance(Sidecar& instance) {
  const Place before = InstancePlace(instance);
  instance.subset = instance.subset == kCanary ? kPrimary : kCanary;
  metrics_.Move(before, InstancePlace(instance));
  analyzer_instances_.ForgetSidecar(instance.service, instance.id);
  catalog_changed_ = true;
  ++mishaps_.moved_instances;
}

void ChurningMesh::BeginService(bool is_permanent) {
  Service service;
  service.number = mishaps_.services++;
  service.name = fmt::format("service-{:06}", service.number);
  const bool comes_back = !is_permanent && !gone_services_.empty() &&
                          now_ - gone_services_.front().second > kNameRests && OneIn(2);
  if (comes_back) {
    service.name = gone_services_.front().first;
    gone_services_.erase(gone_services_.begin());
    ++mishaps_.services_back;
  }
  service.kind = static_cast<Kind>(service.number % kKinds);
  service.is_permanent = is_permanent;
  service.canary_percent = 30;
  const auto place = services_.emplace(service.name, service).first;
  for (const char* subset : {kPrimary, kCanary}) {
    BeginInstance(place->second, subset, is_permanent);
  }
  for (auto& [id, caller] : callers_) {
    if (!caller.is_permanent && OneIn(3)) AddUpstream(caller, place->second);
  }
  catalog_changed_ = true;
}

void ChurningMesh::EndService(const std::string& name) {
  for (auto it = instances_.begin(); it != instances_.end();) {
    it = it->second.service == name ? Remove(instances_, it) : std::next(it);
  }
  for (auto& [id, caller] : callers_) {
    std::erase_if(caller.clusters,
                  [&name](const auto& item) { return item.first.service == name; });
    // Nobody reads one that calls nobody.
    if (caller.clusters.empty()) caller.has_reading = caller.may_hang = false;
  }
  mishaps_.counted_of_gone += CountedOf(name);
  for (Ledger* ledger : {&metrics_, &failover_callers_, &analyzer_callers_, &analyzer_instances_}) {
    ledger->RemoveService(name);
  }
  services_.erase(name);
  gone_services_.emplace_back(name, now_);
  if (gone_services_.size() > 3) gone_services_.erase(gone_services_.begin());
  catalog_changed_ = true;
}

std::uint64_t ChurningMesh::CountedOf(const std::string& service) const {
  std::uint64_t requests = 0;
  for (const auto& [subset, counted] : analyzer_callers_.Of(service)) {
    requests += counted.outcome.requests;
  }
  return requests;
}

void ChurningMesh::BeginCaller(bool is_permanent) {
  Sidecar caller;
  const std::uint64_t number = ++last_number_;
  caller.service = fmt::format("caller-{:06}", number);
  caller.id = fmt::format("node/{}-proxy", caller.service);
  caller.is_permanent = is_permanent;
  caller.writes_text = number % 2 == 0;
  for (const auto& [name, service] : services_) {
    if (is_permanent || OneIn(3)) AddUpstream(caller, service);
  }
  callers_.emplace(caller.id, std::move(caller));
  ++mishaps_.sidecars;
  catalog_changed_ = true;
}

void ChurningMesh::AddUpstream(Sidecar& caller, const Service& service) {
  for (const char* subset : {kPrimary, kCanary}) {
    const envoy::Destination destination{service.name, subset};
    Cluster& cluster = caller.clusters[destination];
    cluster.envoy.labels = DestinationLabels(caller.service, destination);
    cluster.envoy.is_always_shown = OneIn(2);
  }
  catalog_changed_ = true;
}

void ChurningMesh::BeginInstance(const Service& service, const std::string& subset,
                                 bool is_permanent) {
  Sidecar instance;
  const std::uint64_t number = ++last_number_;
  instance.service = service.name;
  instance.subset = subset;
  instance.id = fmt::format("node/instance-{:06}-proxy", number);
  instance.is_permanent = is_permanent;
  instance.writes_text = number % 2 == 0;
  instance.local_app.emplace();
  instance.local_app->envoy.labels = LocalAppLabels(service.name);
  instance.local_app->envoy.is_always_shown = true;
  instances_.emplace(instance.id, std::move(instance));
  ++mishaps_.sidecars;
  catalog_changed_ = true;
}

ChurningMesh::Sidecars::iterator ChurningMesh::Remove(Sidecars& sidecars,
                                                      Sidecars::iterator sidecar) {
  const std::string& id = sidecar->first;
  for (Ledger* ledger : {&metrics_, &failover_callers_, &analyzer_callers_, &analyzer_instances_}) {
    for (const char* place : {"", " in primary", " in canary"}) ledger->RemoveSidecar(id + place);
  }
  catalog_changed_ = true;
  return sidecars.erase(sidecar);
}

void ChurningMesh::LeaveOrReturn(Sidecar& caller) {
  if (caller.is_registered && OneIn(500)) {
    caller.is_registered = caller.has_reading = false;
    caller.back_at = now_ + base::seconds(5 + Below(1000));
    ++mishaps_.sidecars_away;
    catalog_changed_ = true;
  } else if (!caller.is_registered && now_ >= caller.back_at) {
    caller.is_registered = true;
    catalog_changed_ = true;
  }
}

void ChurningMesh::Mishap(Sidecar& sidecar) {
  if (OneIn(250)) Restart(sidecar);
  if (sidecar.may_hang && OneIn(80)) {
    sidecar.silent_until = now_ + (OneIn(30) ? kLongSilence : base::seconds(5 * Below(15)));
    sidecar.may_hang = false;
  }
}

// Whether counters that begin from 0, and serve few requests, are below those that were read: at
// once, or, where nothing was, never.
bool ChurningMesh::ShowsARestart(const Cluster& cluster) {
  return (cluster.read_completed == 0 || cluster.read_completed > kFewRequests) &&
         (cluster.read_timed == 0 || cluster.read_timed > kFewRequests);
}

// The analyzer looks at codes from 400 on. What becomes of a stream whose cluster is rebuilt is not
// known.
bool ChurningMesh::ShowsARebuild(const Cluster& cluster) {
  const bool is_seen =
      cluster.read_errors > kMostAttempts * kFewRequests || cluster.read_calls > kFewRequests;
  return is_seen && cluster.streams.empty() && ShowsARestart(cluster);
}

void ChurningMesh::Restart(Sidecar& sidecar) {
  std::vector<Cluster*> clusters;
  for (auto& [destination, cluster] : sidecar.clusters) clusters.push_back(&cluster);
  if (sidecar.local_app) clusters.push_back(&*sidecar.local_app);
  const bool is_seen = std::all_of(clusters.begin(), clusters.end(),
                                   [](const Cluster* cluster) { return ShowsARestart(*cluster); });
  if (!is_seen) return;
  for (Cluster* cluster : clusters) {
    cluster->envoy.Restart();
    cluster->streams.clear();
    cluster->allowance = kFewRequests;
  }
  for (Ledger* ledger : {&metrics_, &failover_callers_, &analyzer_callers_, &analyzer_instances_}) {
    ledger->Restart(sidecar.id);
  }
  if (sidecar.local_app) metrics_.Restart(InstancePlace(sidecar).sidecar);
  ++mishaps_.restarts;
}

void ChurningMesh::Rebuild(Sidecar& caller) {
  for (auto& [destination, cluster] : caller.clusters) {
    if (!ShowsARebuild(cluster) || OneIn(2)) continue;
    cluster.envoy.Rebuild();
    cluster.allowance = std::min(cluster.allowance, kFewRequests);
    const Place place{destination.service, caller.id, destination.subset};
    for (Ledger* ledger : {&metrics_, &failover_callers_, &analyzer_callers_}) {
      ledger->Rebuild(place);
    }
    ++mishaps_.rebuilt_clusters;
  }
}

}  // namespace consul_canary::churn
