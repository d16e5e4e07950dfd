#include "exporter/envoy/sidecar_page.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "exporter/envoy/prometheus_text.h"

namespace consul_canary::envoy {
namespace {

constexpr std::size_t kBadLinesKept = 10;
// Doubles are exact up to here; Envoy's counters are whole numbers far below.
constexpr double kLargestCount = 9007199254740992.0;

// What the labels of a cluster's series say about where its requests go.
struct ClusterLabels {
  std::string_view cluster;
  std::string_view service;
  std::string_view subset;
  std::string_view custom_hash;
  std::string_view name_space;
  std::string_view partition;
  std::string_view peer;
  std::string_view datacenter;
  std::string_view source_datacenter;
  std::string_view response_code;
  std::string_view upper_bound;
};

struct LabelName {
  std::string_view name;
  std::string_view ClusterLabels::*member;
};

// Consul 1.16 writes both generations; where both stand, the older names come later and are equal.
constexpr LabelName kLabelNames[] = {
    {"envoy_cluster_name", &ClusterLabels::cluster},
    {"envoy_response_code", &ClusterLabels::response_code},
    {"le", &ClusterLabels::upper_bound},
    {"consul_destination_service", &ClusterLabels::service},
    {"consul_destination_service_subset", &ClusterLabels::subset},
    {"consul_destination_custom_hash", &ClusterLabels::custom_hash},
    {"consul_destination_namespace", &ClusterLabels::name_space},
    {"consul_destination_partition", &ClusterLabels::partition},
    {"consul_destination_peer", &ClusterLabels::peer},
    {"consul_destination_datacenter", &ClusterLabels::datacenter},
    {"consul_source_datacenter", &ClusterLabels::source_datacenter},
    {"consul_service", &ClusterLabels::service},
    {"consul_service_subset", &ClusterLabels::subset},
    {"consul_custom_hash", &ClusterLabels::custom_hash},
    {"consul_namespace", &ClusterLabels::name_space},
    {"consul_datacenter", &ClusterLabels::datacenter},
};

ClusterLabels ReadLabels(const Sample& sample) {
  ClusterLabels labels;
  for (const Label& label : sample.labels) {
    for (const LabelName& known : kLabelNames) {
      if (label.name == known.name && (labels.*known.member).empty()) {
        labels.*known.member = label.value;
        break;
      }
    }
  }
  return labels;
}

bool IsDefault(std::string_view name) { return name.empty() || name == "default"; }

// Rollouts live in the default namespace and partition of the sidecar's own datacenter.
bool IsElsewhere(const ClusterLabels& labels) {
  return !IsDefault(labels.name_space) || !IsDefault(labels.partition) || !labels.peer.empty() ||
         (!labels.datacenter.empty() && !labels.source_datacenter.empty() &&
          labels.datacenter != labels.source_datacenter);
}

std::optional<std::uint64_t> ToCount(double value) {
  if (!(value >= 0) || value > kLargestCount) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

std::optional<int> ToCode(std::string_view text) {
  int code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || end != text.data() + text.size() || code < 100 || code > 999) {
    return std::nullopt;
  }
  return code;
}

struct CountName {
  std::string_view name;  // after envoy_cluster_
  std::uint64_t SubsetCounters::*member;
};

constexpr CountName kTrafficCounts[] = {
    {"upstream_rq_completed", &SubsetCounters::completed},
    {"upstream_rq_retry", &SubsetCounters::retries},
    {"upstream_rq_retry_success", &SubsetCounters::retry_success},
    {"upstream_rq_timeout", &SubsetCounters::timeouts},
    {"upstream_rq_active", &SubsetCounters::active},
};

constexpr CountName kHostCounts[] = {
    {"upstream_cx_connect_fail", &SubsetCounters::connect_failures},
    {"membership_healthy", &SubsetCounters::membership_healthy},
    {"membership_change", &SubsetCounters::membership_change},
    {"outlier_detection_ejections_active", &SubsetCounters::ejections_active},
    {"outlier_detection_ejections_enforced_total", &SubsetCounters::ejections_enforced},
};

constexpr std::string_view kTimePrefix = "upstream_rq_time_";

class PageReader {
 public:
  void Read(const Sample& sample) {
    constexpr std::string_view kCluster = "envoy_cluster_";
    constexpr std::string_view kRoutes = "envoy_http_rds_";
    if (sample.name.starts_with(kCluster)) {
      ReadCluster(sample, sample.name.substr(kCluster.size()));
    } else if (sample.name.starts_with(kRoutes)) {
      ReadRoute(sample, sample.name.substr(kRoutes.size()));
    }
  }

  void ReportBadLine(const BadLine& bad) {
    ++page_.bad_line_count;
    if (page_.bad_lines.size() < kBadLinesKept) {
      page_.bad_lines.push_back("line " + std::to_string(bad.line) + ": " +
                                std::string(bad.reason));
    }
  }

  SidecarPage Finish() {
    // The aggregate cluster of a subset with failover has no hosts of its own: its gauges stand
    // still at what they were before. The first target's speak for the subset.
    for (const auto& [destination, hosts] : first_targets_) {
      SubsetCounters& counters = page_.subsets[destination];
      for (const CountName& known : kHostCounts) counters.*known.member = hosts.*known.member;
    }
    return std::move(page_);
  }

 private:
  void ReadCluster(const Sample& sample, std::string_view name) {
    const ClusterLabels labels = ReadLabels(sample);
    const bool local = labels.service.empty() && labels.cluster == "local_app";
    if (!local && (labels.service.empty() || IsElsewhere(labels))) return;
    const Destination destination{std::string(labels.service), std::string(labels.subset)};
    if (labels.custom_hash.starts_with("failover-target~")) {
      if (labels.custom_hash == "failover-target~0") {
        ReadHosts(sample, name, first_targets_[destination]);
      }
      return;
    }
    // No entry for a series that is of no interest: an absent subset must stay absent.
    SubsetCounters counters;
    if (!ReadHosts(sample, name, counters) && !ReadTraffic(sample, name, labels, counters)) return;
    if (local) {
      if (!page_.local_app) page_.local_app.emplace();
      Add(counters, *page_.local_app);
    } else {
      Add(counters, page_.subsets[destination]);
    }
  }

  bool ReadHosts(const Sample& sample, std::string_view name, SubsetCounters& counters) {
    for (const CountName& known : kHostCounts) {
      if (name == known.name) return SetCount(sample, counters.*known.member);
    }
    return false;
  }

  bool ReadTraffic(const Sample& sample, std::string_view name, const ClusterLabels& labels,
                   SubsetCounters& counters) {
    for (const CountName& known : kTrafficCounts) {
      if (name == known.name) return SetCount(sample, counters.*known.member);
    }
    if (name == "upstream_rq") return SetCode(sample, labels, counters.responses);
    if (name == "retry_upstream_rq") return SetCode(sample, labels, counters.retried_responses);
    if (name.starts_with(kTimePrefix)) {
      return SetTime(sample, name.substr(kTimePrefix.size()), labels, counters.request_time);
    }
    return false;
  }

  bool SetCount(const Sample& sample, std::uint64_t& count) {
    const std::optional<std::uint64_t> value = ToCount(sample.value);
    if (!value) {
      ReportBadLine(BadLine{sample.line, "count is negative, too large or not a number"});
      return false;
    }
    count = *value;
    return true;
  }

  bool SetCode(const Sample& sample, const ClusterLabels& labels,
               std::map<int, std::uint64_t>& codes) {
    const std::optional<int> code = ToCode(labels.response_code);
    if (!code) {
      ReportBadLine(BadLine{sample.line, "envoy_response_code is not a status"});
      return false;
    }
    return SetCount(sample, codes[*code]);
  }

  bool SetTime(const Sample& sample, std::string_view part, const ClusterLabels& labels,
               Histogram& histogram) {
    if (part == "count") return SetCount(sample, histogram.count);
    if (part == "sum") {
      if (!std::isfinite(sample.value)) return false;
      histogram.sum_ms = sample.value;
      return true;
    }
    if (part != "bucket") return false;
    const std::optional<double> bound = ParseFloat(labels.upper_bound);
    if (!bound || std::isnan(*bound)) {
      ReportBadLine(BadLine{sample.line, "le is not a number"});
      return false;
    }
    return SetCount(sample, histogram.buckets[*bound]);
  }

  // Several clusters may serve one subset (a customised target has a hash before its name).
  static void Add(const SubsetCounters& from, SubsetCounters& to) {
    for (const CountName& known : kTrafficCounts) to.*known.member += from.*known.member;
    for (const CountName& known : kHostCounts) to.*known.member += from.*known.member;
    for (const auto& [code, count] : from.responses) to.responses[code] += count;
    for (const auto& [code, count] : from.retried_responses) to.retried_responses[code] += count;
    for (const auto& [bound, count] : from.request_time.buckets) {
      to.request_time.buckets[bound] += count;
    }
    to.request_time.sum_ms += from.request_time.sum_ms;
    to.request_time.count += from.request_time.count;
  }

  void ReadRoute(const Sample& sample, std::string_view name) {
    constexpr std::string_view kReload = "_config_reload";
    if (!name.ends_with(kReload)) return;
    if (!IsDefault(sample.Find("consul_upstream_namespace").value_or("")) ||
        !IsDefault(sample.Find("consul_upstream_partition").value_or(""))) {
      return;
    }
    // Envoy's name has underscores for every other character, so the label is better where it is.
    const std::string_view route = sample.Find("consul_upstream_service")
                                       .value_or(name.substr(0, name.size() - kReload.size()));
    std::uint64_t reloads = 0;
    if (SetCount(sample, reloads)) page_.route_reloads[std::string(route)] += reloads;
  }

  SidecarPage page_;
  std::map<Destination, SubsetCounters> first_targets_;
};

}  // namespace

std::string_view SidecarFilter() {
  // Against Envoy's own names. Consul's trust domains, and so its cluster names, end in ".consul";
  // that also keeps out the external. and internal. families, which count the same requests again.
  return R"(^cluster\.(.*\.consul|local_app)\.()"
         R"(upstream_rq_(completed|retry|retry_success|timeout|active|time|[0-9]+)|)"
         R"(retry\.upstream_rq_[0-9]+|upstream_cx_connect_fail|membership_(healthy|change)|)"
         R"(outlier_detection\.ejections_(active|enforced_total))$|)"
         R"(^http\..*\.rds\..*\.config_reload$)";
}

SidecarPage ReadSidecarPage(std::string_view page) {
  PageReader reader;
  ParsePrometheusText(
      page, [&reader](const Sample& sample) { reader.Read(sample); },
      [&reader](const BadLine& bad) { reader.ReportBadLine(bad); });
  return reader.Finish();
}

}  // namespace consul_canary::envoy
