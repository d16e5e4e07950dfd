// What all sidecars together have counted since this process began to read them. Counters never go
// down: restarts of sidecars and rebuilt clusters are taken out; the series of a service that is
// gone go with it. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "exporter/base/clock.h"
#include "exporter/collect/snapshot.h"
#include "exporter/envoy/outcomes.h"
#include "exporter/metrics/troubles.h"

namespace consul_canary::metrics {

struct SubsetTotals {
  envoy::OutcomeCounters outcomes;
  // Codes of what `outcomes` counts by gRPC status, and so has no codes of.
  std::map<int, std::uint64_t> codes_of_calls;
  envoy::Histogram request_time;
  Troubles troubles;

  bool operator==(const SubsetTotals&) const = default;
};

// Final responses of every code, however they are judged.
[[nodiscard]] std::map<int, std::uint64_t> ResponsesOf(const SubsetTotals& totals);

class Totals {
 public:
  using Subsets = std::map<std::string, SubsetTotals>;  // by subset name

  // Adds what is new since the last snapshot. A sidecar that is seen for the first time only sets
  // where counting starts.
  void Observe(const collect::MeshSnapshot& snapshot);

  [[nodiscard]] const std::map<std::string, Subsets>& by_service() const { return totals_; }

 private:
  using Counters = std::shared_ptr<const envoy::SubsetCounters>;

  // One sidecar, and for instances' own ones also the subset: what it had counted when it was last
  // observed. Shares what the snapshot holds.
  struct Sidecar {
    collect::SubsetReadings last;
    std::map<std::string, Counters> by_subset;
    base::MonotonicTime seen_at;
  };
  using Sidecars = std::map<std::string, Sidecar>;

  static void ObserveCallers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now,
                             Sidecars& sidecars, Subsets& totals);
  static void ObserveServers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now,
                             Sidecars& sidecars, Subsets& totals);
  static void ForgetOtherSubsets(const collect::ServerReading& server, Sidecars& sidecars);
  // Adds what `counted` has that `sidecar` had not, and makes it what it had.
  static void Advance(const std::map<std::string, Counters>& counted, bool is_new, Sidecar& sidecar,
                      Subsets& totals);

  std::map<std::string, Sidecars> sidecars_;  // by service
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
