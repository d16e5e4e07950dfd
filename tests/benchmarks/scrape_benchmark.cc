// What reading thousands of sidecars once a second costs: the real scraper, reader, snapshots and
// totals on one core, nginx as the sidecars on another. Beside it, in the same run, the same
// IoLoop with a callback that does nothing, and a bare libcurl loop that only receives.
//
//     scrape_benchmark [SIDECARS] [SECONDS] [counters|recorded|whole]
//
// Prints one JSON object a line.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <vector>

#include "exporter/base/daemon.h"
#include "exporter/base/io_loop.h"
#include "exporter/collect/mesh_state.h"
#include "exporter/collect/scraper.h"
#include "exporter/metrics/totals.h"
#include "tests/benchmarks/bare_scrape.h"
#include "tests/benchmarks/scrape_farm.h"

namespace consul_canary::benchmarks {
namespace {

using base::milliseconds;

constexpr int kOwnCore = 0;
constexpr int kFarmCore = 1;
constexpr std::size_t kCallersOfService = 50;
constexpr milliseconds kWarmUp{3000};
constexpr std::size_t kMostUnderWay = 500;  // as the scraper's

struct Measured {
  std::uint64_t pages = 0;
  std::uint64_t failures = 0;
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double rounds_us_per_page = 0;  // snapshots and totals
  double outline_ms = 0;          // what a change in Consul costs besides

  [[nodiscard]] double MicrosecondsPerPage() const {
    return pages == 0 ? 0 : cpu_seconds * 1e6 / static_cast<double>(pages);
  }
};

// Services with a splitter and two subsets, each called by fifty of the sidecars.
collect::MeshState MeshOf(const std::vector<std::string>& addresses) {
  collect::MeshState state;
  auto& splitters = state.splitters.value.emplace();
  auto& resolvers = state.resolvers.value.emplace();
  state.routers.value.emplace();
  auto& proxy_services = state.proxy_services.value.emplace();
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::size_t number = i / kCallersOfService;
    // Every page shows the same service, so it is the one that counts; the others are there.
    const std::string service = number == 0 ? "api" : fmt::format("api-{}", number);
    const std::string proxy_service = fmt::format("web-{}-sidecar-proxy", number);
    if (i % kCallersOfService == 0) {
      splitters[service].name = service;
      splitters[service].splits = {{90, "", "primary"}, {10, "", "canary"}};
      resolvers[service].name = service;
      resolvers[service].subset_filters = {{"primary", "v1"}, {"canary", "v2"}};
      proxy_services.push_back(proxy_service);
    }
    consul::Instance proxy;
    proxy.node = fmt::format("node-{}", i % 997);
    proxy.id = fmt::format("web-{}-sidecar-proxy", i);
    proxy.service = proxy_service;
    proxy.destination_service = fmt::format("web-{}", number);
    proxy.upstreams = {"api", service};
    proxy.prometheus_bind_addr = addresses[i];
    proxy.passing = true;
    auto& health = state.health[consul::Client::HealthPath(proxy_service)].value;
    if (!health) health.emplace();
    health->push_back(std::move(proxy));
  }
  return state;
}

// Runs the loop, and tells what it took after the warm-up.
Measured Run(base::IoLoop& loop, int seconds, const std::function<std::uint64_t()>& pages,
             const std::function<std::uint64_t()>& failures) {
  auto stop = std::make_unique<std::stop_source>();  // plain, g++ 12 takes it for uninitialized
  Measured measured;
  loop.After(kWarmUp, [&] {
    measured = {pages(), failures(), ThreadCpuSeconds()};
    loop.After(base::seconds(seconds), [&] {
      measured.pages = pages() - measured.pages;
      measured.failures = failures() - measured.failures;
      measured.cpu_seconds = ThreadCpuSeconds() - measured.cpu_seconds;
      measured.resident_bytes = static_cast<double>(base::ReadProcessStats().resident_bytes);
      stop->request_stop();
    });
  });
  loop.Run(stop->get_token());
  return measured;
}

// Everything that the exporter does for a page, and for a round.
Measured RunOurs(const collect::MeshState& state, int seconds) {
  base::IoLoop loop;
  const double before_outline = ThreadCpuSeconds();
  const collect::MeshOutline outline = collect::Outline(state);
  const double outline_ms = (ThreadCpuSeconds() - before_outline) * 1e3;
  metrics::Totals totals;
  std::shared_ptr<const collect::MeshSnapshot> latest;
  std::unique_ptr<collect::Scraper> scraper;
  double rounds_cpu_seconds = 0;
  scraper = std::make_unique<collect::Scraper>(loop, collect::CollectorOptions(), [&] {
    const double before = ThreadCpuSeconds();
    auto snapshot = std::make_shared<collect::MeshSnapshot>();
    snapshot->taken_at = std::chrono::steady_clock::now();
    snapshot->services = collect::Assemble(outline, scraper->readings());
    latest = snapshot;
    totals.Observe(*snapshot);
    rounds_cpu_seconds += ThreadCpuSeconds() - before;
  });
  scraper->SetTargets(collect::WantedTargets(state));
  scraper->Start();
  const auto sum_of_errors = [&] {
    std::uint64_t sum = 0;
    for (const auto& [reason, count] : scraper->stats().errors_by_reason) sum += count;
    return sum;
  };
  Measured measured = Run(
      loop, seconds, [&] { return scraper->stats().scrapes; }, sum_of_errors);
  measured.outline_ms = outline_ms;
  measured.rounds_us_per_page =
      rounds_cpu_seconds * 1e6 / static_cast<double>(scraper->stats().scrapes);
  for (const auto& [reason, count] : scraper->stats().errors_by_reason) {
    const auto& some = scraper->readings().begin()->second;
    fmt::print(stderr, "errors, {}: {} {}\n", reason, count, some.error);
  }
  for (const auto& [subset, counted] : totals.by_service().at("api")) {
    fmt::print(stderr, "requests counted in {}: {}\n", subset, counted.outcomes.completed);
  }
  return measured;
}

// Our loop with a callback that does nothing.
class Receiver {
 public:
  Receiver(const std::vector<std::string>& urls, std::size_t page_bytes)
      : begun_at_(std::chrono::steady_clock::now()) {
    for (std::size_t i = 0; i < urls.size(); ++i) {
      base::HttpRequest& request = requests_.emplace_back();
      request.url = urls[i];
      request.timeout = milliseconds(900);
      request.expected_bytes = page_bytes;
      request.pool = static_cast<std::uint32_t>(i / 200 + 1);
    }
    Continue();
  }

  Measured Measure(int seconds) {
    return Run(
        loop_, seconds, [this] { return pages_; }, [this] { return failures_; });
  }

 private:
  void Continue() {
    loop_.After(milliseconds(10), [this] {
      const double at =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_at_).count();
      const auto due = static_cast<std::size_t>(at * static_cast<double>(requests_.size()));
      for (; begun_ < due; ++begun_) {
        loop_.Read(requests_[begun_ % requests_.size()],
                   [this](const base::Page& page) { ++(page.status == 200 ? pages_ : failures_); });
      }
      Continue();
    });
  }

  base::IoLoop loop_;
  base::MonotonicTime begun_at_;
  std::vector<base::HttpRequest> requests_;
  std::size_t begun_ = 0;
  std::size_t ended_ = 0;
  std::uint64_t pages_ = 0;
  std::uint64_t failures_ = 0;
};

void Print(const std::string& name, double value, std::string_view unit, std::string_view peer,
           double peer_value) {
  const nlohmann::json line = {
      {"name", name}, {"value", value},           {"unit", unit},
      {"peer", peer}, {"peer_value", peer_value}, {"ratio", value / peer_value}};
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
}

void StayOn(int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<std::size_t>(core), &cores);
  (void)sched_setaffinity(0, sizeof(cores), &cores);
}

int Main(std::size_t sidecars, int seconds, PageKind kind) {
  (void)base::IoLoop::OpenFileLimit();  // nginx inherits it
  auto farm = ScrapeFarm::Start(sidecars, kind, kFarmCore);
  if (!farm) {
    fmt::print(stderr, "scrape_benchmark: {}\n", farm.error().message);
    return 1;
  }
  StayOn(kOwnCore);
  const std::size_t page_bytes = SidecarPageText(kind, 0).size();
  const std::vector<std::string>& addresses = (*farm)->addresses();
  std::vector<std::string> urls;
  urls.reserve(addresses.size());
  for (const std::string& address : addresses) {
    urls.push_back(collect::PageUrl({.address = address, .admin = false}));
  }
  const Measured ours = RunOurs(MeshOf(addresses), seconds);
  const Measured received = Receiver(urls, page_bytes).Measure(seconds);
  const BareScrape bare = ScrapeBare(urls, seconds);
  const double bare_us = bare.cpu_seconds * 1e6 / static_cast<double>(bare.pages);
  const std::string of = fmt::format("{} sidecars, pages of {:.1f} KB", sidecars,
                                     static_cast<double>(page_bytes) / 1000);
  fmt::print(stderr, "failures: ours {}, receiving {}, bare {}\n", ours.failures, received.failures,
             bare.failures);
  Print("sidecars read each second, " + of, static_cast<double>(ours.pages) / seconds, "1/s",
        "asked for", static_cast<double>(sidecars));
  Print("CPU for each sidecar read", ours.MicrosecondsPerPage(), "µs",
        "bare sharded libcurl that only receives", bare_us);
  Print("CPU for each page through our loop, which nobody reads", received.MicrosecondsPerPage(),
        "µs", "bare sharded libcurl that only receives", bare_us);
  Print("CPU of reading, snapshots and totals for each sidecar",
        ours.MicrosecondsPerPage() - received.MicrosecondsPerPage(), "µs",
        "half of all for each sidecar read", ours.MicrosecondsPerPage() / 2);
  Print("CPU of snapshots and totals for each sidecar read", ours.rounds_us_per_page, "µs", "all",
        ours.MicrosecondsPerPage());
  Print("sidecars that one core would read each second", 1e6 / ours.MicrosecondsPerPage(), "1/s",
        "goal", 10000);
  Print("CPU of the outline that a change in Consul asks for", ours.outline_ms, "ms",
        "CPU for one round of reading",
        ours.MicrosecondsPerPage() * static_cast<double>(sidecars) / 1e3);
  Print("resident memory", ours.resident_bytes / 1e6, "MB", "goal", 200);
  return 0;
}

}  // namespace
}  // namespace consul_canary::benchmarks

int main(int argc, char** argv) {
  using consul_canary::benchmarks::PageKind;
  const std::size_t sidecars = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 10000;
  const int seconds = argc > 2 ? std::atoi(argv[2]) : 20;
  const std::string_view pages = argc > 3 ? argv[3] : "counters";
  const PageKind kind = pages == "whole"      ? PageKind::kWhole
                        : pages == "recorded" ? PageKind::kRecorded
                                              : PageKind::kCounters;
  return consul_canary::benchmarks::Main(sidecars, seconds, kind);
}
