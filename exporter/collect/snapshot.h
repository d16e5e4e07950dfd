// What the exporter knows of the mesh at one moment: per service with a splitter, its entries, its
// instances and the last reading of every sidecar that calls it. Immutable once published; plain
// values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exporter/base/clock.h"
#include "exporter/base/result.h"
#include "exporter/collect/shared.h"
#include "exporter/consul/client.h"
#include "exporter/consul/config_entries.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::collect {

// What one sidecar counted of one service, by subset.
using SubsetReadings = Shared<std::map<std::string, envoy::SubsetCounters>>;
using Instances = Shared<std::vector<consul::Instance>>;

// One sidecar that calls the service, as last scraped. Only what concerns this service.
struct CallerReading {
  std::string id;        // node/service-id of the proxy
  std::string service;   // whose sidecar it is
  bool passing = false;  // its checks in Consul; only passing callers must be fresh
  std::string address;   // host:port that is scraped; empty: no metrics address is known
  std::optional<base::MonotonicTime> scraped_at;  // of the last success
  std::string error;                              // of the last try; empty: it succeeded
  SubsetReadings subsets;
  std::map<std::string, double>
      applied_shares;  // subset → 0..1; empty: admin port unknown or not read
  std::optional<base::MonotonicTime> applied_at;  // when applied_shares were read
  std::optional<std::uint64_t> route_reloads;     // config_reload of this service's route
  // After how many failures in a row it ejects an instance of the service, by Consul's
  // configuration of it; 0: it does not. nullopt: not known, since that does not name the service
  // as an upstream (gateways, transparent proxies).
  std::optional<int> ejects_after;

  bool operator==(const CallerReading&) const = default;
};

// The own sidecar of one instance of the service, as last scraped. What it counts are attempts,
// whoever sent them: exact for each instance, and independent of failover at the callers.
struct ServerReading {
  std::string id;                    // node/service-id of the proxy
  std::string instance_id;           // Service.ID of the instance behind it
  std::vector<std::string> subsets;  // that hold it, as Consul evaluates the filters
  bool passing = false;
  std::string address;                            // as CallerReading's
  std::optional<base::MonotonicTime> scraped_at;  // as CallerReading's
  std::string error;                              // as CallerReading's
  SharedOptional<envoy::SubsetCounters> local_app;

  bool operator==(const ServerReading&) const = default;
};

struct ServiceSnapshot {
  std::string service;
  std::optional<consul::Splitter> splitter;
  std::optional<consul::Resolver> resolver;
  std::optional<consul::Router> router;
  Instances instances;                                // every instance of the service
  std::map<std::string, Instances> subset_instances;  // as Consul evaluates the filters
  bool instances_known = false;  // both of the above have been answered since the last error
  std::vector<CallerReading> callers;
  std::vector<ServerReading> servers;
};

struct MeshSnapshot {
  base::MonotonicTime taken_at{};
  std::optional<base::Error> consul_error;  // the watches fail at this moment
  // Every question that fails at this moment, by what it asks for ("service-splitter", "health",
  // …): what was answered last stands meanwhile. Of many of one kind, one error.
  std::map<std::string, base::Error> consul_failures;
  // What the token may not do or see, with the rule that its policy lacks.
  std::vector<consul::Refusal> refusals;
  // Requests ("GET /v1/config/service-splitter") whose answers lack what the token may not read.
  std::set<std::string> left_out;
  std::optional<base::MonotonicTime> consul_answered_at;  // last success of any watch or read
  bool ready = false;                                     // all first answers have come
  std::map<std::string, std::shared_ptr<const ServiceSnapshot>> services;
};

}  // namespace consul_canary::collect
