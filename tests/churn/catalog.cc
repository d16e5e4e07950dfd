// What Consul says of a churning mesh.
#include <fmt/format.h>

#include "tests/churn/churning_mesh.h"

namespace consul_canary::churn {
namespace {

using consul::Client;
using consul::Instance;

std::string FilterOf(const std::string& subset) {
  return fmt::format("Service.Meta.version == \"{}\"", subset);
}

Instance ProxyOf(const std::string& id, const std::string& of) {
  Instance proxy;
  proxy.node = id.substr(0, id.find('/'));
  proxy.id = id.substr(id.find('/') + 1);
  proxy.service = of + "-sidecar-proxy";
  proxy.kind = "connect-proxy";
  proxy.address = "10.0.0.5";
  proxy.passing = true;
  proxy.destination_service = of;
  proxy.destination_id = proxy.id.substr(0, proxy.id.rfind('-'));
  proxy.prometheus_bind_addr = "0.0.0.0:9102";
  return proxy;
}

consul::Router RouterOf(const ChurningMesh::Service& service) {
  using Kind = ChurningMesh::Kind;
  consul::RetryRule rule{.retries = 3};
  switch (service.kind) {
    case Kind::kGrpc:
      rule.grpc_statuses = {4, 13, 14};
      rule.on_connect_failure = true;
      break;
    case Kind::kMixedGrpc:
      rule.status_codes = {502};
      rule.grpc_statuses = {14};
      break;
    case Kind::kDoubtful:
      rule.status_codes = {503};
      break;
    case Kind::kRetried:
    case Kind::kFailover:
    case Kind::kPlain:
      rule.status_codes = {500, 502, 503};
      rule.on_connect_failure = true;
      break;
  }
  return {.name = service.name, .retries = {rule}};
}

}  // namespace

std::pair<const collect::MeshState*, bool> ChurningMesh::Catalog() {
  const bool is_new = std::exchange(catalog_changed_, false);
  if (is_new) MakeCatalog();
  return {&state_, is_new};
}

void ChurningMesh::MakeCatalog() {
  state_ = {};
  state_.gateways.value.emplace();
  auto& splitters = state_.splitters.value.emplace();
  auto& resolvers = state_.resolvers.value.emplace();
  auto& routers = state_.routers.value.emplace();
  std::set<std::string> proxy_services;
  const auto health = [this](const std::string& path) -> std::vector<Instance>& {
    auto& value = state_.health[path].value;
    return value ? *value : value.emplace();
  };
  const auto add_proxy = [&](const Instance& proxy) {
    proxy_services.insert(proxy.service);
    health(Client::HealthPath(proxy.service)).push_back(proxy);
  };
  for (const auto& [name, service] : services_) {
    splitters[name] = {.name = name,
                       .splits = {{.weight = 90, .service_subset = "primary"},
                                  {.weight = 10, .service_subset = "canary"}}};
    resolvers[name] = {
        .name = name,
        .subset_filters = {{"primary", FilterOf("primary")}, {"canary", FilterOf("canary")}},
        .has_failover = service.kind == Kind::kFailover};
    if (service.kind != Kind::kPlain) routers[name] = RouterOf(service);
    for (const char* subset : {"primary", "canary"}) {
      health(Client::ConnectPath(name, FilterOf(subset)));
    }
  }
  for (const auto& [id, sidecar] : instances_) {
    const Instance proxy = ProxyOf(id, sidecar.service);
    add_proxy(proxy);
    health(Client::ConnectPath(sidecar.service, FilterOf(sidecar.subset))).push_back(proxy);
    Instance instance;
    instance.node = proxy.node;
    instance.id = proxy.destination_id;
    instance.service = sidecar.service;
    instance.passing = true;
    health(Client::HealthPath(sidecar.service)).push_back(instance);
  }
  for (const auto& [id, sidecar] : callers_) {
    if (!sidecar.is_registered) continue;
    Instance proxy = ProxyOf(id, sidecar.service);
    std::set<std::string> upstreams;
    for (const auto& [destination, cluster] : sidecar.clusters) {
      upstreams.insert(destination.service);
    }
    proxy.upstreams.assign(upstreams.begin(), upstreams.end());
    add_proxy(proxy);
  }
  state_.proxy_services.value.emplace(proxy_services.begin(), proxy_services.end());
}

}  // namespace consul_canary::churn
