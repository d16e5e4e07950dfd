// The requests of a churning mesh.
#include <array>
#include <utility>

#include "tests/churn/churning_mesh.h"

namespace consul_canary::churn {

void ChurningMesh::Traffic(Sidecar& caller) {
  EndStreams(caller);
  for (auto& [destination, cluster] : caller.clusters) Serve(caller, destination, cluster);
  if (OneIn(3)) return;
  FlushAll(caller);
  for (auto& [destination, cluster] : caller.clusters) Serve(caller, destination, cluster);
}

void ChurningMesh::EndStreams(Sidecar& caller) {
  for (auto& [destination, cluster] : caller.clusters) {
    const Place place{destination.service, caller.id, destination.subset};
    const auto is_over = [this, &place, &envoy = cluster.envoy](const Request& stream) {
      if (!OneIn(4)) return false;
      envoy.End(stream);
      metrics_.End(place, stream);
      analyzer_callers_.End(place, stream);
      return true;
    };
    std::erase_if(cluster.streams, is_over);
  }
}

void ChurningMesh::Serve(Sidecar& caller, const envoy::Destination& destination, Cluster& cluster) {
  const Service& service = services_.at(destination.service);
  const bool is_canary = destination.subset == kCanary;
  const std::uint64_t percent = is_canary ? service.canary_percent : 100 - service.canary_percent;
  if (Below(100) >= percent) return;
  const Place place{destination.service, caller.id, destination.subset};
  for (std::uint64_t left = 1 + Below(4); left > 0 && cluster.allowance > 0; --left) {
    std::optional<Request> request = MakeRequest(service, destination.subset);
    if (!request) break;
    if (cluster.allowance != Cluster::kNoLimit) --cluster.allowance;
    const bool is_stream = service.kind == Kind::kMixedGrpc && request->attempts.size() == 1 &&
                           request->attempts.front().grpc_status &&
                           request->attempts.front().code == 200 && OneIn(6);
    cluster.envoy.Begin(*request);
    if (!is_stream) cluster.envoy.End(*request);
    if (service.kind == Kind::kFailover) {  // what became of it is told by the instances
      failover_callers_.Serve(place, {*request});
      continue;
    }
    ++mishaps_.requests;
    for (Ledger* ledger : {&metrics_, &analyzer_callers_}) {
      ledger->Begin(place, *request);
      if (!is_stream) ledger->End(place, *request);
    }
    if (!is_stream) continue;
    ++mishaps_.streams;
    cluster.streams.push_back(*std::move(request));
  }
}

std::optional<Request> ChurningMesh::MakeRequest(const Service& service,
                                                 const std::string& subset) {
  Sidecar* instance = PickInstance(service.name, subset);
  if (instance == nullptr) return std::nullopt;
  Cluster& local_app = *instance->local_app;
  Request request;
  request.method = static_cast<int>(Below(kMethods.size()));
  std::vector<Request> attempts;
  do {
    const Try made = MakeTry(service.kind, subset == kCanary, request.attempts.empty());
    const std::uint64_t milliseconds = OneIn(8) ? Below(3000) : Below(110);
    if (made.at_instance) {
      attempts.push_back({.attempts = {*made.at_instance},
                          .milliseconds = milliseconds,
                          .method = request.method});
    }
    request.attempts.push_back(made.at_caller);
    request.milliseconds += milliseconds;
    request.last_is_retriable = made.is_retriable;
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

ChurningMesh::Try ChurningMesh::MakeTry(Kind kind, bool is_canary, bool is_first) {
  const std::uint64_t draw = Below(100);
  if (draw < (is_canary ? 20 : 8)) return FailingTry(kind, draw);
  Attempt answer{.code = draw == 99 ? 404 : 200};
  if (kind == Kind::kGrpc || kind == Kind::kMixedGrpc) {
    answer = {.code = 200, .grpc_status = draw == 99 ? 5 : 0};  // NOT_FOUND
    // Whatever asks here by plain HTTP, and is not tried again.
    const bool is_plain = kind == Kind::kMixedGrpc && is_first && draw >= 96;
    if (is_plain) answer = {.code = draw >= 98 ? 404 : 200, .grpc_status = std::nullopt};
  }
  return {.at_caller = answer, .at_instance = answer};
}

ChurningMesh::Try ChurningMesh::FailingTry(Kind kind, std::uint64_t draw) {
  const auto answered = [](Attempt attempt, bool is_retriable) {
    return Try{.at_caller = attempt, .at_instance = attempt, .is_retriable = is_retriable};
  };
  // UNAVAILABLE, by the instance's sidecar since the application is dead, and by the caller's since
  // the instance's sidecar is.
  constexpr int kUnavailable = 14;
  const Attempt by_envoy{.code = 503, .grpc_status = kUnavailable};
  const auto dead_sidecar = [&by_envoy](bool is_retriable) {
    return Try{.at_caller = by_envoy, .at_instance = std::nullopt, .is_retriable = is_retriable};
  };
  const Try dead_application{.at_caller = {.code = 200, .grpc_status = kUnavailable},
                             .at_instance = by_envoy,
                             .is_retriable = true};
  constexpr std::array kRetriedStatuses{4, 13};   // DEADLINE_EXCEEDED, INTERNAL
  constexpr std::array kLeftStatuses{2, 15, 20};  // UNKNOWN, DATA_LOSS, none of gRPC's
  const auto status = [](int number) { return Attempt{.code = 200, .grpc_status = number}; };
  switch (kind) {
    case Kind::kGrpc:
      if (draw % 4 == 2) return dead_application;
      if (draw % 4 == 3) return dead_sidecar(true);
      return answered(status(kRetriedStatuses.at(draw % 4)), true);
    case Kind::kMixedGrpc:
      if (draw % 7 == 0) return dead_application;
      // `unavailable` in RetryOn does not stand for a connection that does not come about.
      if (draw % 7 == 1) return dead_sidecar(false);
      if (draw % 7 == 2) return answered({.code = 502, .grpc_status = std::nullopt}, true);
      if (draw % 7 == 3) return answered({.code = 500, .grpc_status = std::nullopt}, false);
      return answered(status(kLeftStatuses.at(draw % 7 - 4)), false);
    case Kind::kRetried:
    case Kind::kPlain:
    case Kind::kDoubtful:
    case Kind::kFailover:
      break;
  }
  constexpr std::array kCodes{500, 502, 503};
  const int code = kCodes.at(draw % kCodes.size());
  const bool is_retriable = kind == Kind::kDoubtful ? code == 503 : kind != Kind::kPlain;
  return answered({.code = code, .grpc_status = std::nullopt}, is_retriable);
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
