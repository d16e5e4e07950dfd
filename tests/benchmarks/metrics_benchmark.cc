#include <fmt/format.h>
#include <algorithm>
#include <ctime>
#include "exporter/metrics/mesh_metrics.h"
#include "tests/benchmarks/large_mesh.h"
using namespace consul_canary;
int main() {
  metrics::MeshMetrics m{metrics::Roles{}};
  auto a = benchmarks::SnapshotOf({}, 1), b = benchmarks::SnapshotOf({}, 2);
  m.OnSnapshot(a);
  m.OnSnapshot(b);
  metrics::PageSize size;
  for (int i = 0; i < 60; ++i) {
    auto t0 = std::clock();
    metrics::TextWriter page(base::MetricsSyntax::kText, size.Expected());
    m.Write(b, {}, {base::MonotonicTime(base::seconds(1002)), std::chrono::system_clock::now()},
            page);
    auto text = page.Finish();
    size.Saw(text.size());
    auto t1 = std::clock();
    fmt::print("write {} ms bytes {} lines {}\n", double(t1 - t0) / 1000.0, text.size(),
               std::count(text.begin(), text.end(), '\n'));
  }
}
