// The peer of scrape_benchmark.cc: libcurl alone, as fast as we know how to drive it, which
// receives pages and forgets them. An easy handle for each sidecar, set up once; multi handles of
// 200 each; one epoll.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::benchmarks {

struct BareScrape {
  std::uint64_t pages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t failures = 0;
  double cpu_seconds = 0;  // of this thread
};

// Reads every URL once a second, spread over it, and counts what came after the first three.
[[nodiscard]] BareScrape ScrapeBare(const std::vector<std::string>& urls, int seconds);

// CPU time that this thread has used.
[[nodiscard]] double ThreadCpuSeconds();

}  // namespace consul_canary::benchmarks
