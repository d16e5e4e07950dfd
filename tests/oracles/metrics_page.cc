// Prints a page of metrics of a made-up mesh for metrics_page_test.py.
//   metrics_page text|openmetrics
#include <cstdio>
#include <string_view>

#include "exporter/base/build_info.h"
#include "exporter/metrics/mesh_metrics.h"
#include "tests/benchmarks/large_mesh.h"

namespace consul_canary {
namespace {

// Names as nobody should choose them, but as a sidecar might send them.
collect::MeshSnapshot OddMesh(unsigned round) {
  collect::MeshSnapshot mesh = benchmarks::SnapshotOf({.services = 3}, round);
  auto odd = std::make_shared<collect::ServiceSnapshot>(*mesh.services.begin()->second);
  odd->service = "a \"b\" \\c\\n\nd{},=# h\xC3\xA9 \xFF!";
  mesh.services[odd->service] = odd;
  return mesh;
}

int Main(std::string_view format) {
  metrics::MeshMetrics metrics{metrics::Roles{}};
  metrics.OnSnapshot(OddMesh(1));
  const collect::MeshSnapshot mesh = OddMesh(2);
  metrics.OnSnapshot(mesh);
  metrics.OnConsulRequest("health", "ok");
  metrics::TextWriter page(format == "openmetrics" ? base::MetricsSyntax::kOpenMetrics
                                                   : base::MetricsSyntax::kText);
  metrics.Write(mesh, {.duration_sum_seconds = 1.25, .scrapes = 3},
                {mesh.taken_at, base::WallTime(base::seconds(1'700'000'000))}, page);
  metrics::WriteProcess("metrics_page", base::Build(), {.cpu_seconds = 0.25}, page);
  std::fputs(page.Finish().c_str(), stdout);
  return 0;
}

}  // namespace
}  // namespace consul_canary

int main(int argc, char** argv) { return argc == 2 ? consul_canary::Main(argv[1]) : 2; }
