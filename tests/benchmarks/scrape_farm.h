// Thousands of sidecars for benchmarks: nginx on one core of its own, with a listening address for
// each, which answers with the page that a real Envoy sent, its counters a little higher from
// request to request.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "exporter/base/result.h"
#include "tests/support/ports.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::benchmarks {

enum class PageKind {
  kCounters,  // of one caller of a service with two subsets, labelled as Consul labels from 1.2x on
  kRecorded,  // the recorded page: both generations of labels, and histograms
  kWhole,     // that among 5.4 MB of what nobody asked for, as where the filter is ignored
};

// `step` steps later: every request counter is higher by what was served meanwhile.
[[nodiscard]] std::string SidecarPageText(PageKind kind, int step);

class ScrapeFarm {
 public:
  // kInvalid where nginx is missing or does not start.
  [[nodiscard]] static base::Result<std::unique_ptr<ScrapeFarm>> Start(std::size_t sidecars,
                                                                       PageKind kind, int core);

  // host:port of each. They end with this.
  [[nodiscard]] const std::vector<std::string>& addresses() const { return addresses_; }

 private:
  ScrapeFarm() = default;
  [[nodiscard]] base::Result<void> StartServer(std::size_t number, std::size_t sidecars, int core);

  testing::TempDir folder_{"scrape-farm"};
  testing::Ports ports_;
  int port_ = ports_.Next();
  std::vector<std::string> addresses_;
  std::vector<std::unique_ptr<testing::Process>> servers_;
};

}  // namespace consul_canary::benchmarks
