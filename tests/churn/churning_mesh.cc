#include "tests/churn/churning_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace consul_canary::churn {
namespace {

constexpr const char* kPrimary = "primary";
constexpr const char* kCanary = "canary";
// What a cluster that restarted serves at most before it is read, and the attempts of one request.
constexpr std::uint64_t kFewRequests = 12;
constexpr std::uint64_t kMostAttempts = 4;
// How long metrics remember a sidecar that left Consul.
constexpr base::seconds kRemembered{600};
// Longer than any sidecar stays silent: until a name comes back, every page with it is forgotten.
constexpr base::seconds kNameRests{1200};
constexpr base::seconds kLongSilence{750};

std::uint64_t MostErrors(const EnvoyCluster& cluster) {
  std::uint64_t most = 0;
  for (const auto* codes : {&cluster.responses, &cluster.retried_responses}) {
    for (auto it = codes->lower_bound(400); it != codes->end(); ++it) {
      most = std::max(most, it->second);
    }
  }
  return most;
}

}  // namespace

ChurningMesh::ChurningMesh(std::uint64_t seed, const ChurnSize& size) : random_(seed), size_(size) {
  for (int i = 0; i < 4; ++i) BeginService(/*is_permanent=*/true);
  for (int i = 0; i < 2; ++i) BeginCaller(/*is_permanent=*/true);
}

// --- what happens

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
    if (!instance.is_permanent && instance.subset == kCanary && instance.silent_until <= now_ &&
        OneIn(300)) {
      const Place before = InstancePlace(instance);
      instance.subset = kPrimary;
      metrics_.Move(before, InstancePlace(instance));
      catalog_changed_ = true;
      ++mishaps_.promoted_instances;
    }
    ++it;
  }
  for (const auto& [name, service] : services_) {
    if (OneIn(250)) BeginInstance(service, OneIn(2) ? kCanary : kPrimary, false);
  }
}

void ChurningMesh::BeginService(bool is_permanent) {
  Service service;
  service.number = ++last_number_;
  service.name = fmt::format("service-{:06}", service.number);
  const bool comes_back = !is_permanent && !gone_services_.empty() &&
                          now_ - gone_services_.front().second > kNameRests && OneIn(2);
  if (comes_back) {
    service.name = gone_services_.front().first;
    gone_services_.erase(gone_services_.begin());
    ++mishaps_.services_back;
  }
  service.kind = static_cast<Kind>(service.number % 4);
  service.is_permanent = is_permanent;
  service.canary_percent = 30;
  const auto place = services_.emplace(service.name, service).first;
  for (const char* subset : {kPrimary, kCanary}) {
    BeginInstance(place->second, subset, is_permanent);
  }
  for (auto& [id, caller] : callers_) {
    if (!caller.is_permanent && OneIn(3)) AddUpstream(caller, place->second);
  }
  ++mishaps_.services;
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
  for (Ledger* ledger : {&metrics_, &analyzer_callers_, &analyzer_instances_}) {
    ledger->RemoveService(name);
  }
  services_.erase(name);
  gone_services_.emplace_back(name, now_);
  if (gone_services_.size() > 3) gone_services_.erase(gone_services_.begin());
  catalog_changed_ = true;
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
  for (Ledger* ledger : {&metrics_, &analyzer_callers_, &analyzer_instances_}) {
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

// The analyzer looks at codes from 400 on.
bool ChurningMesh::ShowsARebuild(const Cluster& cluster) {
  return cluster.read_errors > kMostAttempts * kFewRequests && ShowsARestart(cluster);
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
    cluster->allowance = kFewRequests;
  }
  for (Ledger* ledger : {&metrics_, &analyzer_callers_, &analyzer_instances_}) {
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
    metrics_.Rebuild(place);
    analyzer_callers_.Rebuild(place);
    ++mishaps_.rebuilt_clusters;
  }
}

// --- traffic

void ChurningMesh::Traffic(Sidecar& caller) {
  for (auto& [destination, cluster] : caller.clusters) Serve(caller, destination, cluster);
  if (OneIn(3)) return;
  FlushAll(caller);
  for (auto& [destination, cluster] : caller.clusters) Serve(caller, destination, cluster);
}

void ChurningMesh::Serve(Sidecar& caller, const envoy::Destination& destination, Cluster& cluster) {
  const Service& service = services_.at(destination.service);
  const bool is_canary = destination.subset == kCanary;
  const std::uint64_t percent = is_canary ? service.canary_percent : 100 - service.canary_percent;
  if (Below(100) >= percent) return;
  std::vector<Request> requests;
  for (std::uint64_t left = 1 + Below(4); left > 0 && cluster.allowance > 0; --left) {
    std::optional<Request> request = MakeRequest(service, destination.subset);
    if (!request) break;
    cluster.envoy.Serve(*request);
    if (cluster.allowance != kNoLimit) --cluster.allowance;
    requests.push_back(*std::move(request));
  }
  mishaps_.requests += requests.size();
  if (service.kind == Kind::kFailover) return;  // told by the instances
  const Place place{destination.service, caller.id, destination.subset};
  metrics_.Serve(place, requests);
  analyzer_callers_.Serve(place, requests);
}

// nullopt: no instance takes it.
std::optional<Request> ChurningMesh::MakeRequest(const Service& service,
                                                 const std::string& subset) {
  Sidecar* instance = PickInstance(service.name, subset);
  if (instance == nullptr) return std::nullopt;
  Cluster& local_app = *instance->local_app;
  Request request;
  std::vector<Request> attempts;
  const auto is_retriable = [&service](int status) {
    if (service.kind == Kind::kPlain) return false;
    return service.kind == Kind::kDoubtful ? status == 503 : status >= 500;
  };
  do {
    const std::uint64_t draw = Below(100);
    const std::uint64_t failing = subset == kCanary ? 20 : 8;
    int status = draw == 99 ? 404 : 200;
    if (draw < failing) status = draw % 3 == 0 ? 500 : draw % 3 == 1 ? 502 : 503;
    const std::uint64_t milliseconds = OneIn(8) ? Below(3000) : Below(110);
    attempts.push_back({.attempts = {status}, .milliseconds = milliseconds});
    request.attempts.push_back(status);
    request.milliseconds += milliseconds;
    request.last_is_retriable = is_retriable(status);
  } while (request.last_is_retriable && request.attempts.size() < kMostAttempts);
  for (const Request& attempt : attempts) local_app.envoy.Serve(attempt);
  if (local_app.allowance != kNoLimit) local_app.allowance -= attempts.size();
  if (service.kind == Kind::kFailover) {
    metrics_.Serve(InstancePlace(*instance), attempts);
  } else {
    analyzer_instances_.Serve({service.name, instance->id, kPrimary}, attempts);
  }
  return request;
}

ChurningMesh::Sidecar* ChurningMesh::PickInstance(const std::string& service,
                                                  const std::string& subset) {
  std::vector<Sidecar*> able;
  for (auto& [id, instance] : instances_) {
    if (instance.service == service && instance.subset == subset &&
        instance.local_app->allowance >= kMostAttempts) {
      able.push_back(&instance);
    }
  }
  return able.empty() ? nullptr : able[Below(able.size())];
}

void ChurningMesh::FlushAll(Sidecar& sidecar) {
  for (auto& [destination, cluster] : sidecar.clusters) {
    cluster.envoy.Flush();
    const Place place{destination.service, sidecar.id, destination.subset};
    metrics_.Flush(place);
    analyzer_callers_.Flush(place);
  }
  if (!sidecar.local_app) return;
  sidecar.local_app->envoy.Flush();
  metrics_.Flush(InstancePlace(sidecar));
  analyzer_instances_.Flush({sidecar.service, sidecar.id, kPrimary});
}

// --- reading

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
    envoy.clusters.emplace(destination, cluster.envoy);
    if (!cluster.envoy.IsShown() || left_out.contains(destination)) continue;
    sidecar.shown[destination] = cluster.envoy.completed > 0;
    NoteRead(cluster);
  }
  if (sidecar.local_app) {
    envoy.local_app = sidecar.local_app->envoy;
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
  cluster.read_timed = cluster.envoy.times.count;
  cluster.allowance = kNoLimit;
}

void ChurningMesh::EndTick() {
  for (const auto& [name, service] : services_) {
    if (service.is_ruled) continue;
    std::set<std::string> registered;
    for (const auto& [id, caller] : callers_) {
      if (caller.is_registered) registered.insert(id);
    }
    analyzer_callers_.ForgetAllBut(name, registered);
  }
  for (auto& [id, caller] : callers_) EndTickOfCaller(caller);
  for (auto& [id, instance] : instances_) EndTickOfInstance(instance);
  metrics_.ForgetUnreadSince(now_ - kRemembered);
}

void ChurningMesh::EndTickOfCaller(Sidecar& caller) {
  const auto shown = std::exchange(caller.shown, {});
  caller.is_read = false;
  if (!caller.has_reading) return;
  std::map<std::string, Ledger::Shown> shown_by_service;
  for (const auto& [destination, cluster] : caller.clusters) {
    if (services_.at(destination.service).kind == Kind::kFailover) continue;
    Ledger::Shown& subsets = shown_by_service[destination.service];
    const auto found = shown.find(destination);
    if (found != shown.end()) subsets[destination.subset] = found->second;
  }
  for (const auto& [service, subsets] : shown_by_service) {
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
