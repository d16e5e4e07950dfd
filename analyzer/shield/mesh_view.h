// What Consul says of one service and of those who call it, as far as a shield has to do with it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "analyzer/shield/entry.h"

namespace consul_canary::shield {

// A service whose sidecars send requests to ours.
struct Caller {
  std::string name;
  int sidecars = 0;
  int passing = 0;
  bool by_intention = false;       // no declared upstream: a transparent proxy that may call it
  std::optional<Json> defaults{};  // its service-defaults
  bool writable = true;            // our token may write its entries, as far as Consul says

  bool operator==(const Caller&) const = default;
};

struct MeshView {
  std::string service;
  std::string primary_subset = "primary";
  std::string canary_subset = "canary";
  std::optional<int> max_failures{};  // as asked for; else what is there, or kMaxFailures
  std::string consul_version{};       // "1.16.3"; empty: not known
  std::string protocol{};
  std::optional<Json> defaults{};        // service-defaults of the service
  std::optional<Json> proxy_defaults{};  // for all
  std::optional<Json> resolver{};
  std::optional<Json> splitter{};
  std::optional<Json> router{};
  int passing = 0;  // instances whose checks and whose sidecar's pass
  int primary_passing = 0;
  int canary_passing = 0;
  std::vector<Caller> callers{};        // by name
  std::vector<std::string> gateways{};  // that send requests to it
  std::vector<std::string> perhaps{};   // transparent proxies that may call it by a wildcard
  std::vector<Json> remembering{};      // service-defaults of others with the shield's memory
  bool writable = true;                 // as above, of the service
  std::vector<std::string> lacking{};   // what the token may not read, in words
};

}  // namespace consul_canary::shield
