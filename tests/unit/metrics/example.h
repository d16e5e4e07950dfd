// A small mesh as values: service `api`, split 90/10, two callers, an instance in each subset.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "exporter/collect/snapshot.h"

namespace consul_canary::metrics {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

inline base::MonotonicTime At(int seconds) { return base::MonotonicTime(base::seconds(seconds)); }

inline envoy::SubsetCounters Counters(std::uint64_t completed, std::uint64_t errors = 0,
                                      std::uint64_t slow = 0) {
  envoy::SubsetCounters counters;
  counters.completed = completed;
  if (completed > errors) counters.responses[200] = completed - errors;
  if (errors > 0) counters.responses[500] = errors;
  counters.request_time.count = completed;
  counters.request_time.sum_ms = static_cast<double>(completed) * 10;
  counters.request_time.buckets = {{25, completed - slow}, {kInfinity, completed}};
  return counters;
}

inline collect::CallerReading Caller(const std::string& id, envoy::SubsetCounters primary,
                                     envoy::SubsetCounters canary) {
  collect::CallerReading caller;
  caller.id = id;
  caller.service = "web";
  caller.passing = true;
  caller.address = "10.0.0.5:9102";
  caller.scraped_at = At(100);
  caller.subsets = {{"primary", std::move(primary)}, {"canary", std::move(canary)}};
  return caller;
}

inline collect::ServiceSnapshot Api(std::vector<collect::CallerReading> callers) {
  collect::ServiceSnapshot api;
  api.service = "api";
  api.splitter.emplace();
  api.splitter->name = "api";
  api.splitter->modify_index = 49;
  api.splitter->splits = {{90, "", "primary"}, {10, "", "canary"}};
  api.resolver.emplace();
  api.resolver->name = "api";
  api.resolver->subset_filters = {{"primary", "v1"}, {"canary", "v2"}};
  consul::Instance instance;
  instance.passing = true;
  consul::Instance critical;
  api.subset_instances = {{"primary", {instance, critical}}, {"canary", {instance}}};
  api.instances_known = true;
  api.callers = std::move(callers);
  return api;
}

inline collect::MeshSnapshot Mesh(collect::ServiceSnapshot service, int seconds = 100) {
  collect::MeshSnapshot mesh;
  mesh.taken_at = At(seconds);
  mesh.ready = true;
  const std::string name = service.service;
  mesh.services[name] = std::make_shared<const collect::ServiceSnapshot>(std::move(service));
  return mesh;
}

}  // namespace consul_canary::metrics
