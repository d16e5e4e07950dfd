// A sidecar as far as its counters go: what Envoy under Consul counts of a request, and what
// restarts and rebuilt clusters do to it (docs/outcomes.md). Written after Envoy; it knows nothing
// of what the exporter makes of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::churn {

struct Attempt {
  int code = 200;
  std::optional<int> grpc_status;  // of a gRPC call that was answered with one

  bool operator==(const Attempt&) const = default;
};

// One request of a caller, with what became of each of its attempts.
struct Request {
  std::vector<Attempt> attempts;   // never empty; the last is the caller's answer
  bool last_is_retriable = false;  // the retries were used up
  std::uint64_t milliseconds = 0;  // whole ones, so that sums are exact
  int method = 0;                  // of a gRPC call: index into kMethods
};

inline constexpr std::array<std::string_view, 2> kMethods{"GetOrder", "Put"};

// Of Envoy's histograms, in milliseconds; +Inf follows.
inline constexpr std::array<double, 4> kEdgesMs{25, 100, 250, 1000};

// Requests by how long they took: at most each edge, and in all.
struct Times {
  std::array<std::uint64_t, kEdgesMs.size()> at_most{};
  std::uint64_t count = 0;
  std::uint64_t sum_ms = 0;

  void Add(std::uint64_t milliseconds);
  Times& operator+=(const Times& other);
};

struct EnvoyCluster {
  std::string labels;            // on the page, without braces
  bool is_always_shown = false;  // its hosts are known; else `usedonly` hides it until it is used

  std::uint64_t completed = 0;
  std::uint64_t retries = 0;
  std::uint64_t retry_success = 0;
  std::map<int, std::uint64_t> responses;
  std::map<int, std::uint64_t> retried_responses;
  std::map<std::pair<int, int>, std::uint64_t> grpc_statuses;  // {method, status} → calls
  Times times;                                                 // as the page shows them
  Times unflushed;                                             // will be added to these

  // An answer begins, and ends: with a gRPC call that is no stream, at once.
  void Begin(const Request& request);
  void End(const Request& request);
  void Serve(const Request& request);
  void Flush();
  // All from 0.
  void Restart();
  // Codes, gRPC statuses and histogram from 0; what has neither goes on.
  void Rebuild();
  [[nodiscard]] bool IsShown() const { return is_always_shown || completed > 0; }
};

// What a page is made of; it owns nothing.
struct EnvoySidecar {
  std::map<envoy::Destination, const EnvoyCluster*> clusters;
  const EnvoyCluster* local_app = nullptr;  // null: it has none
};

[[nodiscard]] std::string DestinationLabels(std::string_view caller,
                                            const envoy::Destination& destination);
[[nodiscard]] std::string LocalAppLabels(std::string_view service);

// The page as a sidecar answers it, without the clusters of `left_out`; and what is to be read in
// it.
[[nodiscard]] std::string PageText(const EnvoySidecar& sidecar,
                                   const std::set<envoy::Destination>& left_out);
[[nodiscard]] envoy::SidecarPage PageValues(const EnvoySidecar& sidecar,
                                            const std::set<envoy::Destination>& left_out);

}  // namespace consul_canary::churn
