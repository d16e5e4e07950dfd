// What one scrape of one sidecar says about the services it calls: Envoy's counters and gauges by
// destination service and subset. Pure. It knows Consul's label names, old and new, and ignores
// every series that does not matter to a canary; what a series means is in docs/outcomes.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/consul/config_entries.h"
#include "exporter/envoy/prometheus_text.h"

namespace consul_canary::envoy {

// Cumulative, since the sidecar's start (or since its cluster was built). All integral counters in
// Envoy.
struct Histogram {
  std::map<double, std::uint64_t>
      buckets;  // upper bound in milliseconds → cumulative count; +Inf included
  double sum_ms = 0;
  std::uint64_t count = 0;

  bool operator==(const Histogram&) const = default;
};

struct SubsetCounters {
  std::uint64_t completed = 0;      // upstream_rq_completed
  std::uint64_t retries = 0;        // upstream_rq_retry
  std::uint64_t retry_success = 0;  // upstream_rq_retry_success
  std::uint64_t timeouts = 0;       // upstream_rq_timeout
  std::uint64_t connect_failures = 0;
  std::map<int, std::uint64_t> responses;  // upstream_rq{envoy_response_code}: final responses
  std::map<int, std::uint64_t> retried_responses;  // retry_upstream_rq{envoy_response_code}
  // gRPC status → calls that ended with it, retries apart, over all methods; only where Consul
  // knows the protocol as grpc. The same calls stand in `responses`, mostly as 200.
  std::map<int, std::uint64_t> grpc_statuses;
  std::uint64_t active = 0;              // gauge upstream_rq_active
  std::uint64_t membership_healthy = 0;  // gauge
  std::uint64_t membership_change = 0;   // counter
  // By outlier detection. With failover (a shield), these and membership are the first target's:
  // the canary's own instances.
  std::uint64_t ejections_active = 0;    // gauge
  std::uint64_t ejections_enforced = 0;  // counter
  // The sidecar has clusters for where the subset's requests go when they must: the counts of
  // traffic are then of requests that this subset's share of the split got, whoever answered them,
  // and say nothing about the subset.
  bool has_failover = false;
  std::uint64_t failed_over = 0;  // tries of theirs that went to another target
  Histogram request_time;

  bool operator==(const SubsetCounters&) const = default;
};

struct Destination {
  std::string service;
  std::string subset;  // empty: no subset (no resolver, or the default subset)

  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14 about <=>.
  auto operator<=>(const Destination&) const = default;
};

struct SidecarPage {
  // Only destinations in the place that was asked for, and in the sidecar's own datacenter: others
  // may bear the same names.
  std::map<Destination, SubsetCounters> subsets;
  // What this sidecar passed on to its own instance: attempts, whoever sent them.
  std::optional<SubsetCounters> local_app;
  // RDS route name → config_reload; of the same place.
  std::map<std::string, std::uint64_t> route_reloads;
  std::vector<std::string> bad_lines;  // at most ten, each with its number and reason
  std::size_t bad_line_count = 0;
  std::size_t duplicate_count = 0;  // series that stood there before; the first counts
  bool cut_off = false;             // the page lacks its end: see SeriesLines
};

// The regular expression for Envoy's `filter=` that lets through just what ReadSidecarPage reads;
// not encoded.
[[nodiscard]] std::string_view SidecarFilter();

// Reads a page, filtered or whole: what it says of destinations in `place` (as consul::PlaceOf()
// writes it), which has nothing to do with where the sidecar itself is. One bad line costs one
// line. Lines of other series are passed over unread, so they may be anything.
[[nodiscard]] SidecarPage ReadSidecarPage(std::string_view page,
                                          TextFormat format = TextFormat::kPrometheus,
                                          const consul::Place& place = {});

}  // namespace consul_canary::envoy
