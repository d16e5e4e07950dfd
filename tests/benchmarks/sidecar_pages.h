// Pages as Envoy writes them for a sidecar under Consul, of any size: families, their order, labels
// and forms of numbers are those of an Envoy 1.40.0 under Consul 1.16.3 that was read with
// `usedonly`. Every run gives the same.
#pragma once

#include <cstddef>
#include <string>

namespace consul_canary::benchmarks {

struct PageShape {
  std::size_t clusters = 1;  // each is one subset of a service; two of them make one service
  std::size_t busy = 1;      // so many of them serve requests; the rest only has its instances
  bool whole = true;         // else only what our filter lets through
};

[[nodiscard]] std::string SidecarPageText(const PageShape& shape);

// What our filter lets through, as a regular expression on the names of Prometheus's series.
[[nodiscard]] std::string WantedSeriesPattern();

}  // namespace consul_canary::benchmarks
