// Keeps what the exporter's metrics need between scrapes: totals, and counts of requests to Consul.
// Fed by the loop's thread, read by the server's workers.
#pragma once

#include <mutex>
#include <string_view>
#include <vector>

#include "exporter/metrics/families.h"

namespace consul_canary::metrics {

// Every member may be called from any thread.
class MeshMetrics {
 public:
  explicit MeshMetrics(Roles roles);

  // For Collector::OnPublish.
  void OnSnapshot(const collect::MeshSnapshot& snapshot);
  // For the Client's observer.
  void OnConsulRequest(std::string_view operation, std::string_view result);
  void SetRoles(Roles roles);

  // MeshFamilies and ReadingFamilies.
  [[nodiscard]] std::vector<prometheus::MetricFamily> Families(
      const collect::MeshSnapshot& snapshot, const collect::ScrapeStats& scrapes,
      const Now& now) const;

 private:
  mutable std::mutex mutex_;  // guards what follows
  Roles roles_;
  Totals totals_;
  ConsulRequests requests_;
};

}  // namespace consul_canary::metrics
