// Routes that send requests with a certain header to one subset of a service, put before the other
// routes of its service-router and taken out again. Pure edits of the entry's JSON: every other
// route and field stays, in its order.
//
// A route has no field for a mark, so the Meta of the router names ours: kRoutesMetaKey holds one
// mark for each, made of the route's condition and its subset. By that they are known whatever else
// a person adds to them (a timeout), and wherever he moves them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"
#include "exporter/consul/config_entries.h"

namespace consul_canary::consul {

inline constexpr const char* kRoutesMetaKey = "consul-canary-routes";
// "true" in a router that was made for these routes, and is to go with the last of them.
inline constexpr const char* kMadeMetaKey = "consul-canary-made";

// One condition on one header, as a route's Match.HTTP.Header has it.
struct HeaderCondition {
  std::string name;   // in lower case
  std::string key;    // Present, Exact, Prefix, Suffix or Regex
  std::string value;  // of Present: empty

  bool operator==(const HeaderCondition&) const = default;
};

// Which routes to the subset there are to be.
struct MatchRoutes {
  std::string subset;
  std::vector<HeaderCondition> conditions;  // a route each
};

enum class RoutesFound {
  kNone,
  kWhole,  // all of them, in their order, before any other route, and no other of ours
  kOther
};

struct FoundRoutes {
  // Ours are those that Meta names, and whatever else reads as one of the wanted ones.
  RoutesFound ours = RoutesFound::kNone;
  // Was made for them, and holds nothing that is anyone else's.
  bool made_for_ours = false;
  // A wanted condition that a route has which Meta does not name: `x-canary Exact always`.
  std::string unnamed;
  int others_by_path = 0;  // routes of somebody else's that are for some requests alone

  bool operator==(const FoundRoutes&) const = default;
};

[[nodiscard]] FoundRoutes FindRoutes(const Router& router, const MatchRoutes& wanted);

// A router without routes, which leaves all requests as they are.
[[nodiscard]] std::string RouterForRoutes(std::string_view service,
                                          const std::map<std::string, std::string>& meta);

// The router's JSON with the routes before all others, and Meta[key] = value for each of `meta`.
// What the last route for all requests says of retries, timeouts, headers and prefixes holds for
// ours too, if that route leads to the service itself.
[[nodiscard]] base::Result<std::string> WithRoutes(const Router& router, const MatchRoutes& wanted,
                                                   const std::map<std::string, std::string>& meta);

// The router's JSON without any of ours, and Meta as above.
[[nodiscard]] base::Result<std::string> WithoutRoutes(
    const Router& router, const MatchRoutes& wanted,
    const std::map<std::string, std::string>& meta);

}  // namespace consul_canary::consul
