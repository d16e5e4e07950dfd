#include "tests/benchmarks/large_mesh.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace consul_canary::benchmarks {
namespace {

using collect::CallerReading;
using collect::ServerReading;
using collect::ServiceSnapshot;
using envoy::SubsetCounters;

// Envoy's own, in milliseconds.
constexpr std::array<double, 20> kEdges{
    0.5,    1,      5,       10,      25,
    50,     100,    250,     500,     1000,
    2500,   5000,   10000,   30000,   60000,
    300000, 600000, 1800000, 3600000, std::numeric_limits<double>::infinity()};

SubsetCounters CountersOf(unsigned round, unsigned per_round) {
  SubsetCounters counters;
  const std::uint64_t total = std::uint64_t{round} * per_round;
  counters.completed = total;
  counters.retries = total / 50;
  counters.retry_success = total / 60;
  counters.timeouts = total / 1000;
  counters.connect_failures = total / 2000;
  counters.responses = {{200, total - total / 100 - total / 20}, {404, total / 20}};
  counters.responses[503] = total / 100;
  counters.retried_responses = {{503, total / 50}};
  counters.active = per_round % 7;
  counters.membership_healthy = 3;
  counters.ejections_enforced = total / 3000;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < kEdges.size(); ++i) {
    below = i + 1 == kEdges.size() ? total : total * (i + 1) / kEdges.size();
    counters.request_time.buckets[kEdges[i]] = below;
  }
  counters.request_time.count = total;
  counters.request_time.sum_ms = static_cast<double>(total) * 12.345;
  return counters;
}

// Of one sidecar to the canary in a round: each counts differently, as sidecars do.
unsigned Requests(std::string_view service, std::size_t number) {
  std::uint64_t seed = 14695981039346656037u + number;
  for (const char c : service) seed = (seed ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return 50 + static_cast<unsigned>(seed >> 40u) % 100000;
}

CallerReading CallerOf(const std::string& service, std::size_t number, unsigned round,
                       base::MonotonicTime now) {
  CallerReading caller;
  caller.id = fmt::format("node-{}/{}-caller-{}-sidecar-proxy", number, service, number);
  caller.service = fmt::format("{}-caller-{}", service, number);
  caller.passing = true;
  caller.address = "10.0.0.1:9102";
  caller.scraped_at = now;
  caller.subsets = {{"primary", CountersOf(round, 9 * Requests(service, number))},
                    {"canary", CountersOf(round, Requests(service, number))}};
  caller.applied_shares = {{"primary", 0.9}, {"canary", 0.1}};
  caller.applied_at = now;
  return caller;
}

ServerReading ServerOf(const std::string& service, std::size_t number, unsigned round,
                       base::MonotonicTime now) {
  ServerReading server;
  server.instance_id = fmt::format("{}-{}", service, number);
  server.id = fmt::format("node-{}/{}-sidecar-proxy", number, server.instance_id);
  server.subsets = {number == 0 ? "canary" : "primary"};
  server.passing = true;
  server.address = "10.0.0.2:9102";
  server.scraped_at = now;
  server.local_app = CountersOf(round, 3 * Requests(service, number));
  return server;
}

void AddInstances(const LargeMesh& mesh, ServiceSnapshot& service) {
  std::vector<consul::Instance> all;
  for (std::size_t i = 0; i < mesh.instances; ++i) {
    consul::Instance instance;
    instance.node = fmt::format("node-{}", i);
    instance.id = fmt::format("{}-{}", service.service, i);
    instance.service = service.service;
    instance.passing = true;
    all.push_back(std::move(instance));
  }
  const auto first_primary = all.begin() + (all.empty() ? 0 : 1);
  service.subset_instances["canary"] = std::vector<consul::Instance>(all.begin(), first_primary);
  service.subset_instances["primary"] = std::vector<consul::Instance>(first_primary, all.end());
  service.instances = std::move(all);
  service.instances_known = true;
}

std::shared_ptr<const ServiceSnapshot> ServiceOf(const LargeMesh& mesh, std::size_t number,
                                                 unsigned round, base::MonotonicTime now) {
  auto service = std::make_shared<ServiceSnapshot>();
  service->service = fmt::format("service-{:04}", number);
  service->splitter.emplace();
  service->splitter->name = service->service;
  service->splitter->modify_index = 1000 + number;
  service->splitter->splits = {{90, "", "primary"}, {10, "", "canary"}};
  service->resolver.emplace();
  service->resolver->name = service->service;
  service->resolver->subset_filters = {{"primary", "v1"}, {"canary", "v2"}};
  service->router.emplace();
  service->router->retries = {{{500, 502, 503, 504}, true}};
  AddInstances(mesh, *service);
  for (std::size_t i = 0; i < mesh.callers; ++i) {
    service->callers.push_back(CallerOf(service->service, i, round, now));
  }
  for (std::size_t i = 0; i < mesh.instances; ++i) {
    service->servers.push_back(ServerOf(service->service, i, round, now));
  }
  return service;
}

}  // namespace

collect::MeshSnapshot SnapshotOf(const LargeMesh& mesh, unsigned round) {
  collect::MeshSnapshot snapshot;
  snapshot.taken_at = base::MonotonicTime(base::seconds(1000 + round));
  snapshot.consul_answered_at = snapshot.taken_at;
  snapshot.ready = true;
  for (std::size_t i = 0; i < mesh.services; ++i) {
    auto service = ServiceOf(mesh, i, round, snapshot.taken_at);
    snapshot.services.emplace(service->service, std::move(service));
  }
  return snapshot;
}

}  // namespace consul_canary::benchmarks
