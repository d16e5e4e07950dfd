#include "tests/churn/envoy_sidecar.h"

#include <fmt/format.h>

#include <iterator>
#include <limits>
#include <utility>

namespace consul_canary::churn {
namespace {

using Clusters = std::vector<const EnvoyCluster*>;

void AppendCount(std::string& page, std::string_view name, std::string_view type,
                 const Clusters& clusters, std::uint64_t (*count_of)(const EnvoyCluster&)) {
  fmt::format_to(std::back_inserter(page), "# TYPE envoy_cluster_{} {}\n", name, type);
  for (const EnvoyCluster* cluster : clusters) {
    fmt::format_to(std::back_inserter(page), "envoy_cluster_{}{{{}}} {}\n", name, cluster->labels,
                   count_of(*cluster));
  }
}

void AppendCodes(std::string& page, std::string_view name, const Clusters& clusters,
                 std::map<int, std::uint64_t> EnvoyCluster::*codes) {
  fmt::format_to(std::back_inserter(page), "# TYPE envoy_cluster_{} counter\n", name);
  for (const EnvoyCluster* cluster : clusters) {
    for (const auto& [code, count] : cluster->*codes) {
      fmt::format_to(std::back_inserter(page),
                     "envoy_cluster_{}{{envoy_response_code=\"{}\",{}}} {}\n", name, code,
                     cluster->labels, count);
    }
  }
}

// Each method with each status is a family. At local_app Envoy takes parts of the name for labels.
void AppendStatuses(std::string& page, const Clusters& clusters, const EnvoyCluster* local_app) {
  std::map<std::string, std::string> families;  // name → lines
  for (const EnvoyCluster* cluster : clusters) {
    std::string labels = cluster->labels;
    if (cluster == local_app) {
      labels.insert(labels.find("envoy_cluster_name"),
                    "envoy_grpc_bridge_method=\"v1\",envoy_grpc_bridge_service=\"shop\",");
    }
    const std::string_view package = cluster == local_app ? "" : "shop_v1_";
    for (const auto& [key, count] : cluster->grpc_statuses) {
      const std::string name =
          fmt::format("envoy_cluster_grpc_{}Orders_{}_{}", package,
                      kMethods.at(static_cast<std::size_t>(key.first)), key.second);
      fmt::format_to(std::back_inserter(families[name]), "{}{{{}}} {}\n", name, labels, count);
    }
  }
  for (const auto& [name, lines] : families) {
    fmt::format_to(std::back_inserter(page), "# TYPE {} counter\n{}", name, lines);
  }
}

void AppendTimes(std::string& page, const Clusters& clusters) {
  page += "# TYPE envoy_cluster_upstream_rq_time histogram\n";
  const auto out = std::back_inserter(page);
  for (const EnvoyCluster* cluster : clusters) {
    const Times& times = cluster->times;
    if (times.count == 0) continue;
    const std::string_view labels = cluster->labels;
    constexpr std::string_view kName = "envoy_cluster_upstream_rq_time";
    for (std::size_t i = 0; i < kEdgesMs.size(); ++i) {
      fmt::format_to(out, "{}_bucket{{{},le=\"{}\"}} {}\n", kName, labels, kEdgesMs[i],
                     times.at_most[i]);
    }
    fmt::format_to(out, "{}_bucket{{{},le=\"+Inf\"}} {}\n", kName, labels, times.count);
    fmt::format_to(out, "{}_sum{{{}}} {}\n", kName, labels, times.sum_ms);
    fmt::format_to(out, "{}_count{{{}}} {}\n", kName, labels, times.count);
  }
}

envoy::SubsetCounters ValuesOf(const EnvoyCluster& cluster) {
  envoy::SubsetCounters values;
  values.completed = cluster.completed;
  values.retries = cluster.retries;
  values.retry_success = cluster.retry_success;
  values.responses = cluster.responses;
  values.retried_responses = cluster.retried_responses;
  for (const auto& [key, count] : cluster.grpc_statuses) {
    values.grpc_statuses[key.second] += count;
  }
  values.membership_healthy = 1;
  const Times& times = cluster.times;
  if (times.count == 0) return values;
  for (std::size_t i = 0; i < kEdgesMs.size(); ++i) {
    values.request_time.buckets[kEdgesMs[i]] = times.at_most[i];
  }
  values.request_time.buckets[std::numeric_limits<double>::infinity()] = times.count;
  values.request_time.sum_ms = static_cast<double>(times.sum_ms);
  values.request_time.count = times.count;
  return values;
}

}  // namespace

void Times::Add(std::uint64_t milliseconds) {
  for (std::size_t i = 0; i < kEdgesMs.size(); ++i) {
    if (static_cast<double>(milliseconds) <= kEdgesMs[i]) ++at_most[i];
  }
  ++count;
  sum_ms += milliseconds;
}

Times& Times::operator+=(const Times& other) {
  for (std::size_t i = 0; i < at_most.size(); ++i) at_most[i] += other.at_most[i];
  count += other.count;
  sum_ms += other.sum_ms;
  return *this;
}

void EnvoyCluster::Begin(const Request& request) {
  ++completed;
  for (std::size_t i = 0; i + 1 < request.attempts.size(); ++i) {
    ++retries;
    ++retried_responses[request.attempts[i].code];
  }
  ++responses[request.attempts.back().code];
  // Whatever answer is not tried again ends a retry well, be it another 5xx.
  if (request.attempts.size() > 1 && !request.last_is_retriable) ++retry_success;
}

void EnvoyCluster::End(const Request& request) {
  const std::optional<int> status = request.attempts.back().grpc_status;
  if (status) ++grpc_statuses[{request.method, *status}];
  unflushed.Add(request.milliseconds);
}

void EnvoyCluster::Serve(const Request& request) {
  Begin(request);
  End(request);
}

void EnvoyCluster::Flush() { times += std::exchange(unflushed, {}); }

void EnvoyCluster::Restart() {
  completed = retries = retry_success = 0;
  Rebuild();
}

void EnvoyCluster::Rebuild() {
  responses.clear();
  retried_responses.clear();
  grpc_statuses.clear();
  times = unflushed = {};
}

std::string DestinationLabels(std::string_view caller, const envoy::Destination& destination) {
  return fmt::format(
      "local_cluster=\"{0}\",consul_source_service=\"{0}\",consul_source_datacenter=\"dc1\","
      "envoy_cluster_name=\"{2}\",consul_destination_custom_hash=\"\","
      "consul_destination_service_subset=\"{2}\",consul_destination_service=\"{1}\","
      "consul_destination_namespace=\"default\",consul_destination_datacenter=\"dc1\","
      "consul_destination_target=\"{2}.{1}.default.dc1\"",
      caller, destination.service, destination.subset);
}

std::string LocalAppLabels(std::string_view service) {
  return fmt::format(
      "local_cluster=\"{0}\",consul_source_service=\"{0}\",consul_source_datacenter=\"dc1\","
      "envoy_cluster_name=\"local_app\"",
      service);
}

std::string PageText(const EnvoySidecar& sidecar, const std::set<envoy::Destination>& left_out) {
  Clusters clusters;
  for (const auto& [destination, cluster] : sidecar.clusters) {
    if (cluster->IsShown() && !left_out.contains(destination)) clusters.push_back(cluster);
  }
  if (sidecar.local_app != nullptr) clusters.push_back(sidecar.local_app);
  std::string page;
  AppendStatuses(page, clusters, sidecar.local_app);
  AppendCodes(page, "retry_upstream_rq", clusters, &EnvoyCluster::retried_responses);
  AppendCodes(page, "upstream_rq", clusters, &EnvoyCluster::responses);
  AppendCount(page, "upstream_rq_completed", "counter", clusters,
              [](const EnvoyCluster& cluster) { return cluster.completed; });
  AppendCount(page, "upstream_rq_retry", "counter", clusters,
              [](const EnvoyCluster& cluster) { return cluster.retries; });
  AppendCount(page, "upstream_rq_retry_success", "counter", clusters,
              [](const EnvoyCluster& cluster) { return cluster.retry_success; });
  AppendCount(page, "membership_healthy", "gauge", clusters,
              [](const EnvoyCluster& /*cluster*/) { return std::uint64_t{1}; });
  AppendTimes(page, clusters);
  return page;
}

envoy::SidecarPage PageValues(const EnvoySidecar& sidecar,
                              const std::set<envoy::Destination>& left_out) {
  envoy::SidecarPage page;
  for (const auto& [destination, cluster] : sidecar.clusters) {
    if (!cluster->IsShown() || left_out.contains(destination)) continue;
    page.subsets.emplace(destination, ValuesOf(*cluster));
  }
  if (sidecar.local_app != nullptr) page.local_app = ValuesOf(*sidecar.local_app);
  return page;
}

}  // namespace consul_canary::churn
