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
  // At callers, of requests that the split gave to the subset, whoever answered them.
  std::uint64_t retries = 0;
  std::uint64_t saved = 0;  // requests that a retry made succeed
  Troubles troubles;

  bool operator==(const SubsetTotals&) const = default;
};

// Final responses of every code, however they are judged.
[[nodiscard]] std::map<int, std::uint64_t> ResponsesOf(const SubsetTotals& totals);

class Totals {
 public:
  using Subsets = std::map<std::string, SubsetTotals>;  // by subset name
  using Counters = std::shared_ptr<const envoy::SubsetCounters>;

  // Adds what is new since the last snapshot. A sidecar that is seen for the first time only sets
  // where counting starts.
  void Observe(const collect::MeshSnapshot& snapshot);

  // Retries and troubles come from the callers' sidecars. So does all else, unless the resolver has
  // failover: then it comes from the instances' own.
  [[nodiscard]] const std::map<std::string, Subsets>& by_service() const { return totals_; }

  // What callers saw of each service as a whole, whichever subset answered; without times.
  [[nodiscard]] const std::map<std::string, envoy::OutcomeCounters>& seen_by_callers() const {
    return seen_by_callers_;
  }

  // What the own sidecar of one instance counted while it was in the subset; nullptr where the
  // service's resolver has no failover, or nothing was read. Valid until the next Observe().
  [[nodiscard]] const SubsetTotals* OfInstance(const std::string& service,
                                               const std::string& server_id,
                                               const std::string& subset) const;

 private:
  // One sidecar: what it had counted when it was last observed. Shares what the snapshot holds.
  struct Sidecar {
    collect::SubsetReadings last;
    std::map<std::string, Counters> by_subset;
    base::MonotonicTime seen_at;
  };
  // An instance's own one, in one subset.
  struct Server {
    Sidecar sidecar;
    SubsetTotals counted;
  };
  template <class T>
  using ByService = std::map<std::string, T>;
  using Servers = std::map<std::string, Server>;

  void ObserveCallers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now);
  void ObserveServers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now);
  static void ForgetOtherSubsets(const collect::ServerReading& server, Servers& servers);

  ByService<std::map<std::string, Sidecar>> callers_;
  ByService<Servers> servers_;
  ByService<Subsets> totals_;
  ByService<envoy::OutcomeCounters> seen_by_callers_;
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
