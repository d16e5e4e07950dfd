// The clusters of one page, told apart by their labels. Every series of a cluster repeats all of
// its labels, about a kilobyte under Consul, so they are parsed once: whoever follows is recognised
// by comparing bytes. For sidecar_page.cc only. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "exporter/consul/config_entries.h"
#include "exporter/envoy/prometheus_text.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::envoy {

struct Cluster {
  enum class Kind {
    kIgnored,      // not the mesh's, or in another place or datacenter
    kSubset,       // of a destination
    kFirstTarget,  // of a destination with failover: the subset's own instances
    kOtherTarget,  // of a destination with failover: where its requests go when they must
    kLocalApp,     // the sidecar's own instance
  };

  std::string_view labels;  // `name="value",…` as on the page, without the series' own
  Kind kind = Kind::kIgnored;
  Destination destination{};
  SubsetCounters counters{};
  bool used = false;                    // a value was read
  std::uint32_t counts_read = 0;        // bits of counters, to tell a series that stands twice
  std::string_view last_grpc_series{};  // as above
};

// Whether labels with these values speak of `place`: there, what lies in the default one is named
// "default" or not at all.
[[nodiscard]] bool IsIn(const consul::Place& place, std::string_view namespace_name,
                        std::string_view partition);

// One series of a cluster: the labels that its cluster's series differ in, and its value.
struct ClusterSeries {
  Cluster* cluster = nullptr;
  std::optional<std::string_view> response_code;
  std::string_view upper_bound;
  double value = 0;
};

class PageClusters {
 public:
  PageClusters(TextFormat format, consul::Place place)
      : format_(format), place_(std::move(place)), parser_(format) {}

  // The reason why the line is no sample; empty when `series` is set. Its views are valid until
  // the next call and as long as the page, its cluster as long as this object.
  [[nodiscard]] std::string_view Read(const SeriesLine& line, ClusterSeries& series);

  // In the order in which they came.
  [[nodiscard]] std::deque<Cluster>& clusters() { return clusters_; }

 private:
  [[nodiscard]] bool Recognise(std::string_view rest, ClusterSeries& series,
                               std::string_view& after);
  [[nodiscard]] Cluster& FindOrAdd(const Sample& sample);
  [[nodiscard]] std::string_view ClusterText(std::span<const Label> labels);

  TextFormat format_;
  consul::Place place_;
  SampleParser parser_;
  std::deque<Cluster> clusters_;
  std::unordered_map<std::string_view, std::size_t> by_labels_;
  std::string joined_;            // what the page has in parts; kept for its buffer
  std::deque<std::string> kept_;  // of those, what by_labels_ points to
  std::size_t last_ = 0;
};

}  // namespace consul_canary::envoy
