// Keeps what the exporter's metrics need between scrapes: totals, and counts of requests to Consul.
// Fed by the loop's thread, read by the server's workers.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <string_view>

#include "exporter/metrics/families.h"

namespace consul_canary::metrics {

// Every member may be called from any thread.
class MeshMetrics {
 public:
  explicit MeshMetrics(Roles roles);

  // For Collector::OnPublish. Waits for a page that is being written.
  void OnSnapshot(const collect::MeshSnapshot& snapshot);
  // For the Client's observer.
  void OnConsulRequest(std::string_view operation, std::string_view result);
  void SetRoles(Roles roles);

  // WriteMesh and WriteReading.
  void Write(const collect::MeshSnapshot& snapshot, const collect::ScrapeStats& scrapes,
             const Now& now, TextWriter& page) const;

 private:
  mutable std::mutex mutex_;  // guards roles_ and totals_
  Roles roles_;
  Totals totals_;
  mutable std::mutex requests_mutex_;
  ConsulRequests requests_;
};

// How long the last pages were, so that the next one is set aside at once and never copied while it
// grows. Any thread.
class PageSize {
 public:
  [[nodiscard]] std::size_t Expected() const { return expected_bytes_; }
  void Saw(std::size_t bytes) { expected_bytes_ = bytes + bytes / 16 + 4096; }

 private:
  std::atomic<std::size_t> expected_bytes_ = 0;
};

}  // namespace consul_canary::metrics
