// The requests of a churning mesh.
#include <utility>

#include "tests/churn/churning_mesh.h"

namespace consul_canary::churn {

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
    if (cluster.allowance != Cluster::kNoLimit) --cluster.allowance;
    requests.push_back(*std::move(request));
  }
  if (service.kind == Kind::kFailover) return;  // told by the instances
  mishaps_.requests += requests.size();
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
  if (local_app.allowance != Cluster::kNoLimit) local_app.allowance -= attempts.size();
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

}  // namespace consul_canary::churn
