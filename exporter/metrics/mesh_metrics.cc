#include "exporter/metrics/mesh_metrics.h"

#include <iterator>
#include <utility>

namespace consul_canary::metrics {

MeshMetrics::MeshMetrics(Roles roles) : roles_(std::move(roles)) {}

void MeshMetrics::OnSnapshot(const collect::MeshSnapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  totals_.Observe(snapshot);
}

void MeshMetrics::OnConsulRequest(std::string_view operation, std::string_view result) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(operation), std::string(result)}];
}

void MeshMetrics::SetRoles(Roles roles) {
  const std::lock_guard lock(mutex_);
  roles_ = std::move(roles);
}

std::vector<prometheus::MetricFamily> MeshMetrics::Families(const collect::MeshSnapshot& snapshot,
                                                            const collect::ScrapeStats& scrapes,
                                                            const Now& now) const {
  const std::lock_guard lock(mutex_);
  std::vector<prometheus::MetricFamily> families = MeshFamilies(snapshot, totals_, roles_);
  std::vector<prometheus::MetricFamily> reading =
      ReadingFamilies(snapshot, scrapes, requests_, now);
  families.insert(families.end(), std::make_move_iterator(reading.begin()),
                  std::make_move_iterator(reading.end()));
  return families;
}

}  // namespace consul_canary::metrics
