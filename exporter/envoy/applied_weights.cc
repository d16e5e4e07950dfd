#include "exporter/envoy/applied_weights.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "exporter/envoy/page_clusters.h"

namespace consul_canary::envoy {
namespace {

using Json = nlohmann::json;
using Shares = std::map<std::string, double>;

// Where a service lies, and its name.
struct Target {
  std::string_view service;
  const consul::Place& place;
};

// The member, or null where `object` is none or lacks it: a dump that is shaped otherwise reads as
// one that says nothing.
const Json& Member(const Json& object, const char* key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::vector<std::string_view> SplitAtDots(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    text.remove_prefix(dot + 1);
  }
}

// The subset of the target that the cluster is; nullopt for a cluster of another service. Its name
// is [hash~][subset.]service.namespace.[partition.]datacenter.internal[-v1].<trust domain>. Four
// parts are a subset or a partition: the target's service tells which.
std::optional<std::string_view> SubsetOf(std::string_view name, const Target& target) {
  if (const std::size_t tilde = name.rfind('~'); tilde != std::string_view::npos) {
    name.remove_prefix(tilde + 1);
  }
  const std::vector<std::string_view> parts = SplitAtDots(name);
  const auto internal = std::find_if(parts.begin(), parts.end(), [](std::string_view part) {
    return part == "internal" || part.starts_with("internal-v");
  });
  if (internal == parts.end()) return std::nullopt;
  const auto count = internal - parts.begin();
  if (count < 3 || count > 5) return std::nullopt;
  const bool has_subset = count == 5 || (count == 4 && parts[1] == target.service);
  const std::size_t service = has_subset ? 1 : 0;
  const bool has_partition = count - static_cast<std::ptrdiff_t>(service) == 4;
  if (parts[service] != target.service ||
      !IsIn(target.place, parts[service + 1], has_partition ? parts[service + 2] : "")) {
    return std::nullopt;
  }
  return has_subset ? parts[0] : "";
}

// Where the route sends its requests, as far as that is the service itself. Nothing for a redirect.
Shares RouteShares(const Json& action, const Target& target) {
  Shares shares;
  double total = 0;
  const auto add = [&](const std::string& cluster, double weight) {
    total += weight;
    const std::optional<std::string_view> subset = SubsetOf(cluster, target);
    if (subset) shares[std::string(*subset)] += weight;
  };
  const Json& clusters = Member(Member(action, "weighted_clusters"), "clusters");
  if (clusters.is_array()) {
    for (const Json& cluster : clusters) {
      const Json& weight = Member(cluster, "weight");
      add(Text(Member(cluster, "name")), weight.is_number() ? weight.get<double>() : 0.0);
    }
  } else if (Member(action, "cluster").is_string()) {
    add(Text(Member(action, "cluster")), 1);
  }
  if (!(total > 0)) return {};
  for (auto& [subset, share] : shares) share /= total;
  return shares;
}

bool MatchesEverything(const Json& match) {
  return Text(Member(match, "prefix")) == "/" && Member(match, "headers").is_null() &&
         Member(match, "query_parameters").is_null();
}

Shares LastCatchAll(const Json& routes, const Target& target) {
  Shares shares;
  if (!routes.is_array()) return shares;
  for (const Json& route : routes) {
    if (MatchesEverything(Member(route, "match"))) {
      shares = RouteShares(Member(route, "route"), target);
    }
  }
  return shares;
}

}  // namespace

base::Result<std::map<std::string, std::map<std::string, double>>> ReadAppliedWeights(
    std::string_view config_dump, const consul::Place& place) {
  const Json dump = Json::parse(config_dump, nullptr, /*allow_exceptions=*/false);
  if (dump.is_discarded()) {
    return base::Fail(base::ErrorCode::kInvalid, "config_dump: not JSON");
  }
  std::map<std::string, Shares> applied;
  const Json& configs = Member(dump, "configs");
  if (!configs.is_array()) return applied;  // a sidecar without dynamic routes answers {}
  for (const Json& config : configs) {
    const Json& route_config = Member(config, "route_config");
    const Json& hosts = Member(route_config, "virtual_hosts");
    if (!hosts.is_array()) continue;
    for (const Json& host : hosts) {
      const std::string name = Text(Member(host, "name"));
      std::string service = name.empty() ? Text(Member(route_config, "name")) : name;
      // Outside the default place Consul puts that before the name: team/api.
      service.erase(0, service.rfind('/') + 1);
      Shares shares = LastCatchAll(Member(host, "routes"), {service, place});
      if (!shares.empty()) applied[service] = std::move(shares);
    }
  }
  return applied;
}

}  // namespace consul_canary::envoy
