#include "exporter/envoy/sidecar_page.h"

#include <charconv>
#include <cmath>

#include "exporter/envoy/page_clusters.h"

namespace consul_canary::envoy {
namespace {

constexpr std::size_t kBadLinesKept = 10;
// Doubles are exact up to here; Envoy's counters are whole numbers far below.
constexpr double kLargestCount = 9007199254740992.0;

std::optional<std::uint64_t> ToCount(double value) {
  if (!(value >= 0) || value > kLargestCount) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

std::optional<int> ToInt(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

struct CountName {
  std::string_view name;  // after envoy_cluster_
  std::uint64_t SubsetCounters::*member;
  bool of_hosts;  // else of traffic
};

constexpr CountName kCounts[] = {
    {"upstream_rq_completed", &SubsetCounters::completed, false},
    {"upstream_rq_retry", &SubsetCounters::retries, false},
    {"upstream_rq_retry_success", &SubsetCounters::retry_success, false},
    {"upstream_rq_timeout", &SubsetCounters::timeouts, false},
    {"upstream_rq_active", &SubsetCounters::active, false},
    {"upstream_cx_connect_fail", &SubsetCounters::connect_failures, true},
    {"membership_healthy", &SubsetCounters::membership_healthy, true},
    {"membership_change", &SubsetCounters::membership_change, true},
    {"outlier_detection_ejections_active", &SubsetCounters::ejections_active, true},
    {"outlier_detection_ejections_enforced_total", &SubsetCounters::ejections_enforced, true},
};

// What a series is, as far as its name tells.
struct Family {
  enum class Kind {
    kUnwanted,
    kCount,
    kResponses,
    kRetriedResponses,
    kTimeBucket,
    kTimeSum,
    kTimeCount,
    kGrpcStatus,
    kRouteReloads,
  };

  Kind kind = Kind::kUnwanted;
  std::size_t count = 0;  // kCount: index into kCounts
  int grpc_status = 0;
};

constexpr std::string_view kClusterPrefix = "envoy_cluster_";
constexpr std::string_view kRoutePrefix = "envoy_http_rds_";
constexpr std::string_view kReloadSuffix = "_config_reload";
constexpr std::string_view kTotalSuffix = "_total";

struct FamilyName {
  std::string_view name;  // after envoy_cluster_
  Family::Kind kind;
};

constexpr FamilyName kFamilies[] = {
    {"upstream_rq", Family::Kind::kResponses},
    {"retry_upstream_rq", Family::Kind::kRetriedResponses},
    {"upstream_rq_time_bucket", Family::Kind::kTimeBucket},
    {"upstream_rq_time_sum", Family::Kind::kTimeSum},
    {"upstream_rq_time_count", Family::Kind::kTimeCount},
};

// Envoy names the method before the status, and leaves in the name what its tags did not take:
// grpc_shop_v1_Orders_GetOrder_14, or at local_app grpc_Orders_GetOrder_14. What else it counts
// there (…_success, …_total, …_request_message_count) ends in a word.
std::optional<int> GrpcStatus(std::string_view name) {
  if (!name.starts_with("grpc_")) return std::nullopt;
  const std::string_view status = name.substr(name.rfind('_') + 1);
  if (status.empty() || status.size() > 3 || status.front() < '0' || status.front() > '9') {
    return std::nullopt;
  }
  return ToInt(status);
}

Family ClusterFamily(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kCounts); ++i) {
    if (name == kCounts[i].name) return {.kind = Family::Kind::kCount, .count = i};
  }
  for (const FamilyName& known : kFamilies) {
    if (name == known.name) return {.kind = known.kind};
  }
  if (const std::optional<int> status = GrpcStatus(name)) {
    return {.kind = Family::Kind::kGrpcStatus, .grpc_status = *status};
  }
  return {};
}

// OpenMetrics appends _total to every counter, also where Envoy's name has none. Elsewhere what is
// called grpc_shop_Orders_Get_2_total is Envoy's own sum over a method that is called Get_2.
Family FamilyOf(std::string_view name, TextFormat format) {
  if (name.starts_with(kClusterPrefix)) {
    name.remove_prefix(kClusterPrefix.size());
    Family family = ClusterFamily(name);
    if (family.kind != Family::Kind::kUnwanted || !name.ends_with(kTotalSuffix)) return family;
    family = ClusterFamily(name.substr(0, name.size() - kTotalSuffix.size()));
    const bool is_sum =
        family.kind == Family::Kind::kGrpcStatus && format != TextFormat::kOpenMetrics;
    return is_sum ? Family() : family;
  }
  if (!name.starts_with(kRoutePrefix)) return {};
  if (name.ends_with(kTotalSuffix)) name.remove_suffix(kTotalSuffix.size());
  return {.kind = name.ends_with(kReloadSuffix) ? Family::Kind::kRouteReloads
                                                : Family::Kind::kUnwanted};
}

template <TextFormat format>
bool IsWanted(std::string_view name) {
  return FamilyOf(name, format).kind != Family::Kind::kUnwanted;
}

SeriesLines::IsWanted WantedIn(TextFormat format) {
  return format == TextFormat::kOpenMetrics ? IsWanted<TextFormat::kOpenMetrics>
                                            : IsWanted<TextFormat::kPrometheus>;
}

// Several clusters may serve one subset (a customised target has a hash before its name).
void Add(const SubsetCounters& from, SubsetCounters& to) {
  const auto add = [](const auto& more, auto& sums) {
    for (const auto& [key, count] : more) sums[key] += count;
  };
  for (const CountName& known : kCounts) to.*known.member += from.*known.member;
  add(from.responses, to.responses);
  add(from.retried_responses, to.retried_responses);
  add(from.grpc_statuses, to.grpc_statuses);
  add(from.request_time.buckets, to.request_time.buckets);
  to.has_failover = to.has_failover || from.has_failover;
  to.failed_over += from.failed_over;
  to.request_time.sum_ms += from.request_time.sum_ms;
  to.request_time.count += from.request_time.count;
}

class PageReader {
 public:
  PageReader(std::string_view page, TextFormat format, const consul::Place& place)
      : place_(place),
        format_(format),
        lines_(page, format, WantedIn(format)),
        clusters_(format, place),
        parser_(format) {}

  SidecarPage Read() {
    SeriesLine line;
    while (lines_.Next(line)) {
      if (const std::string_view reason = ReadLine(line); !reason.empty()) {
        ReportBadLine(line.number, reason);
      }
    }
    page_.cut_off = lines_.cut_off();
    for (Cluster& cluster : clusters_.clusters()) AddCluster(cluster);
    AddFirstTargets();
    return std::move(page_);
  }

 private:
  void ReportBadLine(std::size_t number, std::string_view reason) {
    ++page_.bad_line_count;
    if (page_.bad_lines.size() < kBadLinesKept) {
      page_.bad_lines.push_back("line " + std::to_string(number) + ": " + std::string(reason));
    }
  }

  // The reason why the line is bad. `line` may be so already.
  std::string_view ReadLine(const SeriesLine& line) {
    if (!line.reason.empty()) return line.reason;
    if (line.name != name_) {
      name_ = line.name;
      family_ = FamilyOf(name_, format_);
    }
    if (family_.kind == Family::Kind::kRouteReloads) return ReadRoute(line);
    ClusterSeries series;
    if (const std::string_view reason = clusters_.Read(line, series); !reason.empty()) {
      return reason;
    }
    return ReadCluster(series);
  }

  std::string_view ReadCluster(const ClusterSeries& series) {
    Cluster& cluster = *series.cluster;
    switch (cluster.kind) {
      case Cluster::Kind::kIgnored:
        return {};
      case Cluster::Kind::kOtherTarget:
        return IsTries(series) ? SetOnce(series, 0, cluster.counters.failed_over)
                               : std::string_view();
      case Cluster::Kind::kFirstTarget:
        if (family_.kind != Family::Kind::kCount || !kCounts[family_.count].of_hosts) return {};
        break;
      case Cluster::Kind::kSubset:
      case Cluster::Kind::kLocalApp:
        break;
    }
    SubsetCounters& counters = cluster.counters;
    switch (family_.kind) {
      case Family::Kind::kUnwanted:
      case Family::Kind::kRouteReloads:
        return {};
      case Family::Kind::kCount:
        return SetOnce(series, family_.count, counters.*kCounts[family_.count].member);
      case Family::Kind::kTimeCount:
        return SetOnce(series, std::size(kCounts), counters.request_time.count);
      case Family::Kind::kTimeSum:
        // Not judged by anybody, so no line is bad for it.
        if (std::isfinite(series.value)) counters.request_time.sum_ms = series.value;
        return {};
      case Family::Kind::kResponses:
        return SetCode(series, counters.responses);
      case Family::Kind::kRetriedResponses:
        return SetCode(series, counters.retried_responses);
      case Family::Kind::kTimeBucket:
        return SetBucket(series, counters.request_time.buckets);
      case Family::Kind::kGrpcStatus:
        return AddStatus(series, counters.grpc_statuses);
    }
    return {};
  }

  // `bit` is the count's, in Cluster::counts_read.
  std::string_view SetOnce(const ClusterSeries& series, std::size_t bit, std::uint64_t& count) {
    const std::optional<std::uint64_t> value = ToCount(series.value);
    if (!value) return kNoCount;
    Cluster& cluster = *series.cluster;
    if ((cluster.counts_read >> bit & 1U) != 0) return Duplicate();
    cluster.counts_read |= 1U << bit;
    cluster.used = true;
    count = *value;
    return {};
  }

  // OpenMetrics calls upstream_rq{code} what Envoy calls the count of all tries: upstream_rq_total.
  [[nodiscard]] bool IsTries(const ClusterSeries& series) const {
    return family_.kind == Family::Kind::kResponses && !series.response_code &&
           name_.ends_with(kTotalSuffix);
  }

  std::string_view SetCode(const ClusterSeries& series, std::map<int, std::uint64_t>& codes) {
    if (IsTries(series)) return {};
    const std::optional<int> code = ToInt(series.response_code.value_or(""));
    if (!code || *code < 100 || *code > 999) return "envoy_response_code is not a status";
    return SetNew(series, *code, codes);
  }

  std::string_view SetBucket(const ClusterSeries& series,
                             std::map<double, std::uint64_t>& buckets) {
    const std::optional<double> bound = ParseFloat(series.upper_bound);
    if (!bound || std::isnan(*bound)) return "le is not a number";
    return SetNew(series, *bound, buckets);
  }

  template <class Key>
  std::string_view SetNew(const ClusterSeries& series, Key key,
                          std::map<Key, std::uint64_t>& counts) {
    const std::optional<std::uint64_t> value = ToCount(series.value);
    if (!value) return kNoCount;
    // They mostly come in order.
    const std::size_t before = counts.size();
    counts.emplace_hint(counts.end(), key, *value);
    if (counts.size() == before) return Duplicate();
    series.cluster->used = true;
    return {};
  }

  // Of several methods, each a family of its own.
  std::string_view AddStatus(const ClusterSeries& series, std::map<int, std::uint64_t>& statuses) {
    const std::optional<std::uint64_t> value = ToCount(series.value);
    if (!value) return kNoCount;
    Cluster& cluster = *series.cluster;
    if (cluster.last_grpc_series == name_) return Duplicate();
    cluster.last_grpc_series = name_;
    cluster.used = true;
    statuses[family_.grpc_status] += *value;
    return {};
  }

  std::string_view Duplicate() {
    ++page_.duplicate_count;
    return {};
  }

  std::string_view ReadRoute(const SeriesLine& line) {
    if (const std::string_view reason = parser_.Parse(line); !reason.empty()) return reason;
    const Sample& sample = parser_.sample();
    if (!IsIn(place_, sample.Find("consul_upstream_namespace").value_or(""),
              sample.Find("consul_upstream_partition").value_or(""))) {
      return {};
    }
    const std::optional<std::uint64_t> reloads = ToCount(sample.value);
    if (!reloads) return kNoCount;
    const std::string_view labels = line.rest.substr(0, line.rest.rfind('}'));
    if (name_ == last_route_ && labels == last_route_labels_) return Duplicate();
    last_route_ = name_;
    last_route_labels_ = labels;
    // Envoy's name has underscores for every other character, so the label is better where it is.
    std::string_view route = name_.substr(kRoutePrefix.size());
    route = route.substr(0, route.rfind(kReloadSuffix));
    page_.route_reloads[std::string(sample.Find("consul_upstream_service").value_or(route))] +=
        *reloads;
    return {};
  }

  // A series that is of no interest makes no entry: an absent subset must stay absent.
  void AddCluster(Cluster& cluster) {
    if (cluster.kind == Cluster::Kind::kFirstTarget ||
        cluster.kind == Cluster::Kind::kOtherTarget) {
      SubsetCounters& hosts = first_targets_[cluster.destination];
      if (cluster.used) Add(cluster.counters, hosts);
    } else if (cluster.used && cluster.kind == Cluster::Kind::kLocalApp) {
      if (!page_.local_app) page_.local_app.emplace();
      Add(cluster.counters, *page_.local_app);
    } else if (cluster.used) {
      const auto [place, added] =
          page_.subsets.try_emplace(std::move(cluster.destination), std::move(cluster.counters));
      if (!added) Add(cluster.counters, place->second);
    }
  }

  // The aggregate cluster of a subset with failover has no hosts of its own: its gauges stand
  // still at what they were before. The first target's speak for the subset.
  void AddFirstTargets() {
    for (const auto& [destination, hosts] : first_targets_) {
      SubsetCounters& counters = page_.subsets[destination];
      counters.has_failover = true;
      counters.failed_over = hosts.failed_over;
      for (const CountName& known : kCounts) {
        if (known.of_hosts) counters.*known.member = hosts.*known.member;
      }
    }
  }

  static constexpr std::string_view kNoCount = "count is negative, too large or not a number";

  const consul::Place& place_;
  TextFormat format_;
  SeriesLines lines_;
  PageClusters clusters_;
  SampleParser parser_;
  std::string_view name_;  // of the line before
  Family family_;          // of that name
  std::string_view last_route_;
  std::string_view last_route_labels_;
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
         R"(grpc(-web)?\..*\.[0-9]+|outlier_detection\.ejections_(active|enforced_total))$|)"
         R"(^cluster\.failover-target~[1-9].*\.upstream_rq_total$|)"
         R"(^http\..*\.rds\..*\.config_reload$)";
}

SidecarPage ReadSidecarPage(std::string_view page, TextFormat format, const consul::Place& place) {
  return PageReader(page, format, place).Read();
}

}  // namespace consul_canary::envoy
