#include "exporter/metrics/mesh_metrics.h"

#include <string>
#include <utility>

namespace consul_canary::metrics {

MeshMetrics::MeshMetrics(Roles roles) : roles_(std::move(roles)) {}

void MeshMetrics::OnSnapshot(const collect::MeshSnapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  totals_.Observe(snapshot);
}

void MeshMetrics::OnConsulRequest(std::string_view operation, std::string_view result) {
  const std::lock_guard lock(requests_mutex_);
  ++requests_[{std::string(operation), std::string(result)}];
}

void MeshMetrics::SetRoles(Roles roles) {
  const std::lock_guard lock(mutex_);
  roles_ = std::move(roles);
}

void MeshMetrics::Write(const collect::MeshSnapshot& snapshot, const collect::ScrapeStats& scrapes,
                        const Now& now, TextWriter& page) const {
  {
    const std::lock_guard lock(mutex_);
    WriteMesh(snapshot, totals_, roles_, page);
  }
  ConsulRequests requests;
  {
    const std::lock_guard lock(requests_mutex_);
    requests = requests_;
  }
  WriteReading(snapshot, scrapes, requests, now, page);
}

}  // namespace consul_canary::metrics
