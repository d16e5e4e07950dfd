// What the mesh says of its weights: Consul's word and the sidecars'.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tests/support/mesh.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

// Of a cluster `canary.api.default.dc1.internal.…`.
std::string SubsetOf(const std::string& cluster) { return cluster.substr(0, cluster.find('.')); }

// Adds the shares that one route gives, in percent.
void AddRoute(const json& action, std::map<std::string, double>& weights) {
  if (action.contains("weighted_clusters")) {
    for (const json& cluster : action["weighted_clusters"]["clusters"]) {
      weights[SubsetOf(cluster.value("name", ""))] += cluster.value("weight", 0.0) / 100;
    }
  } else if (action.contains("cluster")) {
    weights[SubsetOf(action.value("cluster", ""))] += 100;
  }
}

std::map<std::string, double> RouteWeights(const json& dump) {
  std::map<std::string, double> weights;
  for (const json& config : dump.value("configs", json::array())) {
    if (!config.contains("route_config")) continue;
    for (const json& host : config["route_config"].value("virtual_hosts", json::array())) {
      for (const json& route : host.value("routes", json::array())) {
        if (route.contains("route")) AddRoute(route["route"], weights);
      }
    }
  }
  return weights;
}

}  // namespace

std::map<std::string, double> Mesh::Weights() const {
  const auto entry = consul_->ReadEntry("service-splitter", options_.service);
  std::map<std::string, double> weights;
  if (!entry || !*entry) return weights;
  const json splitter = json::parse(**entry, nullptr, false);
  for (const json& split : splitter.value("Splits", json::array())) {
    weights[split.value("ServiceSubset", "")] = split.value("Weight", 0.0);
  }
  return weights;
}

std::map<std::string, double> Mesh::AppliedWeights(int caller) const {
  const auto body =
      consul_->http().Get(caller_admin(caller) + "/config_dump?resource=dynamic_route_configs");
  const json dump = json::parse(body.value_or("{}"), nullptr, false);
  return dump.is_object() ? RouteWeights(dump) : std::map<std::string, double>();
}

}  // namespace consul_canary::testing
