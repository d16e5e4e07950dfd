#include "exporter/consul/routes.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "exporter/consul/go_duration.h"

namespace consul_canary::consul {
namespace {

void AddCodes(std::vector<int>& codes, int first, int last) {
  const std::size_t before = codes.size();
  codes.resize(before + static_cast<std::size_t>(last - first + 1));
  std::iota(codes.begin() + static_cast<std::ptrdiff_t>(before), codes.end(), first);
}

// Envoy's retry conditions. Those on an answer's code stand for codes; those on the transport
// include a failed connection (envoy: RetryStateImpl::wouldRetryFromReset).
void ApplyCondition(std::string_view condition, RetryRule& rule) {
  if (condition == "5xx") AddCodes(rule.status_codes, 500, 599);
  if (condition == "gateway-error") AddCodes(rule.status_codes, 502, 504);
  if (condition == "retriable-4xx") AddCodes(rule.status_codes, 409, 409);
  constexpr std::pair<std::string_view, int> kGrpc[] = {{"cancelled", 1},
                                                        {"deadline-exceeded", 4},
                                                        {"resource-exhausted", 8},
                                                        {"internal", 13},
                                                        {"unavailable", 14}};
  for (const auto& [name, status] : kGrpc) {
    if (condition == name) rule.grpc_statuses.push_back(status);
  }
  if (condition == "5xx" || condition == "gateway-error" || condition == "reset" ||
      condition == "connect-failure") {
    rule.on_connect_failure = true;
  }
}

bool SaysNothingBut(const Json& object, std::string_view key) {
  return std::ranges::all_of(object.items(), [key](const auto& item) {
    return item.key() == key || SaysNothing(item.value());
  });
}

const Json& HttpOf(const Json& route) {
  static const Json kNone = Json::object();
  const Json& http = Child(Child(route, "Match"), "HTTP");
  return http.is_object() ? http : kNone;
}

// "route /admin, Methods POST PATCH": no two that match differently bear the same.
std::string NameOf(const Json& route) {
  if (TakesAll(route)) return "route for all";
  constexpr std::pair<const char*, const char*> kPaths[] = {
      {"PathPrefix", ""}, {"PathExact", "= "}, {"PathRegex", "~ "}};
  const Json& http = HttpOf(route);
  std::vector<std::string> parts;
  for (const auto& [key, sign] : kPaths) {
    if (const std::string path = Text(http, key); !path.empty()) parts.push_back(sign + path);
  }
  for (const auto& [key, value] : http.items()) {
    if (SaysNothing(value) || key == "PathPrefix" || key == "PathExact" || key == "PathRegex") {
      continue;
    }
    const bool is_methods = key == "Methods";
    parts.push_back(is_methods ? fmt::format("Methods {}", fmt::join(Texts(http, "Methods"), " "))
                               : fmt::format("{} {}", key, Dump(value)));
  }
  return fmt::format("route {}", fmt::join(parts, ", "));
}

Route ReadRoute(const Json& route, const Json& router) {
  const Json& destination = Child(route, "Destination");
  const std::string service = Text(destination, "Service");
  Route read;
  read.name = NameOf(route);
  read.leads_home =
      (service.empty() || service == Text(router, "Name")) &&
      LiesIn(destination, PlaceOf(Text(router, "Namespace"), Text(router, "Partition")));
  read.subset = Text(destination, "ServiceSubset");
  read.methods = Texts(HttpOf(route), "Methods");
  for (const std::string& method : read.methods) {
    if (method == "POST" || method == "PATCH" || method == "CONNECT") {
      read.not_idempotent.push_back(method);
    }
  }
  read.retries = ReadRetries(destination);
  return read;
}

}  // namespace

bool SaysNothing(const Json& value) {
  if (value.is_null() || value.empty()) return true;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_object()) return std::ranges::all_of(value, SaysNothing);
  return value.is_number() && value == 0;
}

nlohmann::json Plain(const Json& value) {
  if (value.is_object()) {
    nlohmann::json plain = nlohmann::json::object();
    for (const auto& [key, child] : value.items()) {
      if (!SaysNothing(child)) plain[key] = Plain(child);
    }
    return plain;
  }
  if (value.is_array()) {
    nlohmann::json plain = nlohmann::json::array();
    for (const Json& child : value) plain.push_back(Plain(child));
    return plain;
  }
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const auto nanoseconds = ParseGoNanoseconds(text);
    return nanoseconds ? nlohmann::json(*nanoseconds) : nlohmann::json(text);
  }
  return nlohmann::json(value);
}

bool LiesIn(const Json& named, const Place& own) {
  if (!Text(named, "Peer").empty()) return false;
  const std::string name_space = Text(named, "Namespace");
  const std::string partition = Text(named, "Partition");
  return own == PlaceOf(name_space.empty() ? own.namespace_name : std::string_view(name_space),
                        partition.empty() ? own.partition : std::string_view(partition));
}

bool TakesAll(const Json& route) {
  const Json& match = Child(route, "Match");
  if (SaysNothing(match)) return true;
  if (!match.is_object() || !SaysNothingBut(match, "HTTP")) return false;
  const Json& http = HttpOf(route);
  return SaysNothingBut(http, "PathPrefix") && Text(http, "PathPrefix") == "/";
}

std::optional<RetryRule> ReadRetries(const Json& destination) {
  const std::vector<std::string> conditions = Texts(destination, "RetryOn");
  const Json& codes = Child(destination, "RetryOnStatusCodes");
  const bool on_connect_failure = Flag(destination, "RetryOnConnectFailure");
  if (Unsigned(destination, "NumRetries") == 0 && conditions.empty() && codes.empty() &&
      !on_connect_failure) {
    return std::nullopt;
  }
  RetryRule rule;
  rule.on_connect_failure = on_connect_failure;
  rule.retries = std::max<std::uint64_t>(1, Unsigned(destination, "NumRetries"));
  for (const std::string& condition : conditions) ApplyCondition(condition, rule);
  if (codes.is_array()) {
    for (const Json& code : codes) {
      if (code.is_number_integer()) rule.status_codes.push_back(code.get<int>());
    }
  }
  std::sort(rule.status_codes.begin(), rule.status_codes.end());
  const auto repeated = std::unique(rule.status_codes.begin(), rule.status_codes.end());
  rule.status_codes.erase(repeated, rule.status_codes.end());
  return rule;
}

std::vector<Route> ReadRoutes(const Json& router) {
  std::vector<Route> routes;
  std::set<std::string> matches;
  const Json& list = Child(router, "Routes");
  for (std::size_t i = 0; list.is_array() && i < list.size(); ++i) {
    if (!matches.insert(Plain(Child(list[i], "Match")).dump()).second) continue;
    routes.push_back(ReadRoute(list[i], router));
    routes.back().index = i;
    if (TakesAll(list[i])) return routes;
  }
  routes.push_back({.name = "default route", .leads_home = true});
  return routes;
}

bool RetryRule::takes_server_faults() const {
  return std::ranges::all_of(kServerFaults, [this](int code) {
    return std::ranges::find(status_codes, code) != status_codes.end();
  });
}

}  // namespace consul_canary::consul
