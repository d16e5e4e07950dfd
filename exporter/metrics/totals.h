// What all sidecars together have counted since this process began to read them. Counters never go
// down: restarts of sidecars and rebuilt clusters are taken out; the series of a service that is
// gone go with it. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "exporter/base/clock.h"
#include "exporter/collect/snapshot.h"
#include "exporter/envoy/outcomes.h"
#include "exporter/metrics/troubles.h"

namespace consul_canary::metrics {

struct SubsetTotals {
  envoy::OutcomeCounters outcomes;  // with the responses of every code, not only from 400 on
  envoy::Histogram request_time;
  Troubles troubles;

  bool operator==(const SubsetTotals&) const = default;
};

class Totals {
 public:
  using Subsets = std::map<std::string, SubsetTotals>;  // by subset name

  // Adds what is new since the last snapshot. A sidecar that is seen for the first time only sets
  // where counting starts.
  void Observe(const collect::MeshSnapshot& snapshot);

  [[nodiscard]] const std::map<std::string, Subsets>& by_service() const { return totals_; }

 private:
  struct SidecarTimes {
    std::map<std::string, envoy::Histogram> by_subset;
    std::map<std::string, Troubles> troubles;  // by subset
  };
  struct Service {
    envoy::Baselines baselines;
    std::map<std::string, SidecarTimes> times;             // by sidecar
    std::map<std::string, base::MonotonicTime> last_seen;  // by sidecar
  };

  // What one sidecar has counted by now, by subset. `id` also says how it was counted.
  struct Reading {
    std::string id;
    std::map<std::string, envoy::SubsetCounters> subsets;
  };

  static std::vector<Reading> ReadingsOf(const collect::ServiceSnapshot& snapshot);
  void ObserveService(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now);
  static void AddTimes(const Reading& reading, Service& service, Subsets& totals);
  static void Forget(Service& service, base::MonotonicTime now);

  std::map<std::string, Service> services_;
  std::map<std::string, Subsets> totals_;
};

// later - earlier of two cumulative histograms; `later` itself where anything went down, since a
// histogram that restarted has counted all it shows since then (Envoy's restart when a cluster is
// rebuilt, its counters do not).
[[nodiscard]] envoy::Histogram NewSince(const envoy::Histogram& later,
                                        const envoy::Histogram& earlier);

// Adds cumulative buckets. Where only one of the two has a bound, the other's share up to there is
// taken from its next smaller bound, so that counts stay cumulative.
void AddHistogram(const envoy::Histogram& from, envoy::Histogram& to);

}  // namespace consul_canary::metrics
