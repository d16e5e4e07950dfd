#include "exporter/envoy/page_clusters.h"

#include <algorithm>

namespace consul_canary::envoy {
namespace {

constexpr std::string_view kResponseCode = "envoy_response_code";
constexpr std::string_view kUpperBound = "le";

// Families list the clusters in one order, but not each has a series of all.
constexpr std::size_t kClustersTried = 8;

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
};

struct LabelName {
  std::string_view name;
  std::string_view ClusterLabels::*member;
};

// Consul 1.16 writes both generations; where both stand, the older names come later and are equal.
constexpr LabelName kLabelNames[] = {
    {"envoy_cluster_name", &ClusterLabels::cluster},
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

bool IsElsewhere(const ClusterLabels& labels, const consul::Place& place) {
  return !IsIn(place, labels.name_space, labels.partition) || !labels.peer.empty() ||
         (!labels.datacenter.empty() && !labels.source_datacenter.empty() &&
          labels.datacenter != labels.source_datacenter);
}

Cluster::Kind KindOf(const ClusterLabels& labels, const consul::Place& place) {
  if (labels.service.empty()) {
    return labels.cluster == "local_app" ? Cluster::Kind::kLocalApp : Cluster::Kind::kIgnored;
  }
  if (IsElsewhere(labels, place)) return Cluster::Kind::kIgnored;
  if (labels.custom_hash == "failover-target~0") return Cluster::Kind::kFirstTarget;
  if (labels.custom_hash.starts_with("failover-target~")) return Cluster::Kind::kOtherTarget;
  return Cluster::Kind::kSubset;
}

bool IsOfSeries(const Label& label) {
  return label.name == kResponseCode || label.name == kUpperBound;
}

bool TakePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// A value without escapes, and its closing quote.
std::optional<std::string_view> TakePlainValue(std::string_view& text) {
  const std::size_t end = text.find('"');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view value = text.substr(0, end);
  if (value.find('\\') != std::string_view::npos) return std::nullopt;
  text.remove_prefix(end + 1);
  return value;
}

}  // namespace

bool IsIn(const consul::Place& place, std::string_view namespace_name, std::string_view partition) {
  const auto plain = [](std::string_view name) { return name == "default" ? "" : name; };
  return plain(namespace_name) == place.namespace_name && plain(partition) == place.partition;
}

std::string_view PageClusters::Read(const SeriesLine& line, ClusterSeries& series) {
  series = {};
  std::string_view after;
  if (line.reason.empty() && Recognise(line.rest, series, after)) {
    Sample sample;
    const std::string_view reason = ParseValue(after, format_, sample);
    series.value = sample.value;
    return reason;
  }
  series = {};
  if (const std::string_view reason = parser_.Parse(line); !reason.empty()) return reason;
  const Sample& sample = parser_.sample();
  series.cluster = &FindOrAdd(sample);
  series.response_code = sample.Find(kResponseCode);
  series.upper_bound = sample.Find(kUpperBound).value_or("");
  series.value = sample.value;
  return {};
}

// Envoy puts the response code before a cluster's labels, and a bucket's bound behind them. Any
// other order is the parser's. What is equal to labels that were parsed needs no parsing: they are
// whole labels, and after them comes '}' or a comma.
bool PageClusters::Recognise(std::string_view rest, ClusterSeries& series,
                             std::string_view& after) {
  if (clusters_.empty() || !TakePrefix(rest, "{")) return false;
  if (TakePrefix(rest, "envoy_response_code=\"")) {
    series.response_code = TakePlainValue(rest);
    if (!series.response_code || !TakePrefix(rest, ",")) return false;
  }
  for (std::size_t i = 0; i <= std::min(kClustersTried, clusters_.size()); ++i) {
    // In the end the first one: a family that few clusters have is followed by the next.
    const std::size_t index = i < kClustersTried ? (last_ + i) % clusters_.size() : 0;
    Cluster& cluster = clusters_[index];
    if (cluster.labels.empty() || !rest.starts_with(cluster.labels)) continue;
    after = rest.substr(cluster.labels.size());
    if (TakePrefix(after, ",le=\"")) {
      const std::optional<std::string_view> bound = TakePlainValue(after);
      if (!bound || !after.starts_with('}')) return false;
      series.upper_bound = *bound;
    }
    if (!TakePrefix(after, "}")) continue;  // perhaps one that has these labels and more
    last_ = index;
    series.cluster = &cluster;
    return true;
  }
  return false;
}

Cluster& PageClusters::FindOrAdd(const Sample& sample) {
  std::string_view text = ClusterText(sample.labels);
  if (const auto found = by_labels_.find(text); found != by_labels_.end()) {
    last_ = found->second;
    return clusters_[last_];
  }
  if (text.data() == joined_.data()) text = kept_.emplace_back(joined_);
  const ClusterLabels labels = ReadLabels(sample);
  last_ = clusters_.size();
  by_labels_.emplace(text, last_);
  return clusters_.emplace_back(
      Cluster{.labels = text,
              .kind = KindOf(labels, place_),
              .destination = {std::string(labels.service), std::string(labels.subset)}});
}

// The labels without the series' own, with a comma after each but the last. Envoy writes them so,
// with the series' own at the ends: then it is a part of the page, else of joined_.
std::string_view PageClusters::ClusterText(std::span<const Label> labels) {
  while (!labels.empty() && IsOfSeries(labels.front())) labels = labels.subspan(1);
  while (!labels.empty() && IsOfSeries(labels.back())) labels = labels.first(labels.size() - 1);
  if (labels.empty()) return {};
  std::size_t length = labels.size() - 1;
  for (const Label& label : labels) length += label.text.size();
  const char* const begin = labels.front().text.data();
  const std::string_view last = labels.back().text;
  if (begin + length == last.data() + last.size()) return {begin, length};
  joined_.clear();
  for (const Label& label : labels) {
    if (IsOfSeries(label)) continue;
    if (!joined_.empty()) joined_ += ',';
    joined_ += label.text;
  }
  return joined_;
}

}  // namespace consul_canary::envoy
