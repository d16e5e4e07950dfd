// The three configuration entries that move a canary's traffic, as far as this product reads them,
// and pure edits of their JSON that keep every field we do not know. No I/O.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"

namespace consul_canary::consul {

// A service-splitter. Weights are percent, as Consul stores them (0..100, steps of 0.01).
struct Split {
  double weight = 0;
  std::string service{};         // empty: the splitter's own
  std::string service_subset{};  // empty: the resolver's default subset
  std::string namespace_name{};  // empty: the splitter's own
  std::string partition{};       // empty: the splitter's own

  bool operator==(const Split&) const = default;
};

// Where an entry lies in Consul Enterprise; both empty in the default one and in open-source
// Consul.
struct Place {
  std::string namespace_name{};
  std::string partition{};

  bool operator==(const Place&) const = default;
};

// "default" and "" are the same.
[[nodiscard]] Place PlaceOf(std::string_view namespace_name, std::string_view partition);

struct Splitter {
  std::string name{};
  Place place{};
  std::vector<Split> splits{};
  std::map<std::string, std::string> meta{};
  std::uint64_t modify_index = 0;
  std::string raw{};  // the entry's JSON as Consul answered it

  // Percent that goes to the named subset of the splitter's own service; 0 when it has no split.
  [[nodiscard]] double WeightOf(std::string_view subset) const;
  bool operator==(const Splitter&) const = default;
};

// A service-resolver. A subset with an empty filter holds all instances.
struct Resolver {
  std::string name{};
  Place place{};
  std::map<std::string, std::string> meta{};
  std::map<std::string, std::string> subset_filters{};  // subset name → Filter
  bool hashes = false;        // LoadBalancer.Policy: the request chooses the instance
  bool has_failover = false;  // any Failover: callers' counters then mix subsets
  // Of Failover, what stays within the service: subset (or "*": each) → the one subset that gets
  // its requests when none of its own instances is healthy. What leads elsewhere, or to several
  // targets, is left out.
  std::map<std::string, std::string> failover_subsets{};
  std::uint64_t modify_index = 0;
  std::string raw{};

  // Names of Failover, whatever it says of them.
  std::set<std::string> with_failover{};

  // Whether requests of `subset` go to `other` when none of its own instances is healthy, and those
  // of no other subset go anywhere.
  [[nodiscard]] bool FailsOverOnly(std::string_view subset, std::string_view other) const;
  // The other subset of the service that gets the requests of this one when none of its own
  // instances is healthy; nullopt: nobody does, or somebody else.
  [[nodiscard]] std::optional<std::string> FailoverOf(std::string_view subset) const;
  bool operator==(const Resolver&) const = default;
};

// What a service or its sidecar answers for a fault of its own.
inline constexpr int kServerFaults[] = {500, 502, 503, 504};

// What a route of a service-router retries.
struct RetryRule {
  std::vector<int>
      status_codes;  // RetryOnStatusCodes, and what RetryOn's "5xx" and "gateway-error" stand for
  bool on_connect_failure = false;
  std::uint64_t retries = 1;         // NumRetries; Envoy's default where it is not set
  std::vector<int> grpc_statuses{};  // RetryOn's "unavailable" and such, as numbers

  // Whether all of kServerFaults are among the codes.
  [[nodiscard]] bool takes_server_faults() const;
  bool operator==(const RetryRule&) const = default;
};

// A route that gets requests.
struct Route {
  std::string name{};  // by what it matches: "route for all", "route /admin, Methods POST"
  std::optional<std::size_t> index{};  // in the entry's Routes; nullopt: the one that Consul adds
  bool leads_home = false;             // to the router's own service
  std::string subset{};                // its ServiceSubset; empty: none
  std::vector<std::string> methods{};  // it takes requests of these alone; empty: of all
  std::vector<std::string> not_idempotent{};  // POST, PATCH and CONNECT among them
  std::optional<RetryRule> retries{};         // nullopt: nothing is retried

  // Whether its requests are split between the subsets, so that they may meet a canary.
  [[nodiscard]] bool meets_splitter() const { return leads_home && subset.empty(); }
  // Whether each of its requests may do another thing twice than once.
  [[nodiscard]] bool must_not_repeat() const {
    return !methods.empty() && not_idempotent.size() == methods.size();
  }
  bool operator==(const Route&) const = default;
};

// Envoy's own for a route without one.
inline constexpr double kDefaultRequestTimeoutSeconds = 15;

struct Router {
  std::string name{};
  Place place{};
  std::map<std::string, std::string> meta{};
  // Those that get requests, in their order, without any behind one that takes all; last the one
  // that Consul adds where none does.
  std::vector<Route> routes{};
  // Of each route that retries anything; none: nothing is retried.
  std::vector<RetryRule> retries{};
  // The longest RequestTimeout of any route, at least Envoy's default: Consul adds a route without
  // one for what no other takes.
  double request_timeout_seconds = kDefaultRequestTimeoutSeconds;
  std::uint64_t modify_index = 0;
  std::string raw{};

  bool operator==(const Router&) const = default;
};

// Parse one entry as `GET /v1/config/<kind>/<name>` answers it, or as an element of the list that
// `GET /v1/config/<kind>` answers. kInvalid names the entry and the field.
[[nodiscard]] base::Result<Splitter> ParseSplitter(std::string_view json);
[[nodiscard]] base::Result<Resolver> ParseResolver(std::string_view json);
[[nodiscard]] base::Result<Router> ParseRouter(std::string_view json);
[[nodiscard]] base::Result<std::vector<Splitter>> ParseSplitters(std::string_view json_array);
[[nodiscard]] base::Result<std::vector<Resolver>> ParseResolvers(std::string_view json_array);
[[nodiscard]] base::Result<std::vector<Router>> ParseRouters(std::string_view json_array);

// The splitter's JSON with canary_percent (two decimals at most) to `canary_subset`, what other
// splits than these two leave over to `primary_subset`, and Meta[key] = value for each of `meta`;
// every other field stays. A split of the two that is missing is added. kInvalid when the weights
// cannot sum to 100 or one would be negative: Consul itself accepts 110/-10, so it is checked here.
[[nodiscard]] base::Result<std::string> WithWeights(const Splitter& splitter,
                                                    std::string_view primary_subset,
                                                    std::string_view canary_subset,
                                                    double canary_percent,
                                                    const std::map<std::string, std::string>& meta);

// The resolver's JSON with the subset's Filter replaced and Meta[key] = value for each of `meta`;
// every other field stays. kInvalid when the resolver has no such subset.
[[nodiscard]] base::Result<std::string> WithSubsetFilter(
    const Resolver& resolver, std::string_view subset, std::string_view filter,
    const std::map<std::string, std::string>& meta = {});

}  // namespace consul_canary::consul
