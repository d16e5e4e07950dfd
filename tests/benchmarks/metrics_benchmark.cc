// How long our own page of metrics takes with 1,000 services of two subsets each, five callers and
// four instances a service, and what it holds in memory meanwhile. Beside it, in the same run,
// prometheus-cpp's TextSerializer on the same families, which were built before: its part alone.
//
// Prints one JSON object a line. Times are medians of this process's CPU time, but for the scrape,
// which is by the clock: a client on loopback, connection, page and all.
#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "exporter/base/http_server.h"
#include "exporter/base/io_loop.h"
#include "exporter/metrics/mesh_metrics.h"
#include "tests/benchmarks/allocations.h"
#include "tests/benchmarks/large_mesh.h"

namespace consul_canary::benchmarks {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr int kRuns = 21;

[[noreturn]] void Fail(const std::string& why) {
  fmt::print(stderr, "metrics_benchmark: {}\n", why);
  std::exit(1);
}

double MedianOf(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double MedianCpuMilliseconds(const std::function<void()>& work) {
  std::vector<double> times;
  for (int i = 0; i < kRuns; ++i) {
    const std::clock_t started = std::clock();
    work();
    times.push_back(1000.0 * static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC);
  }
  return MedianOf(std::move(times));
}

void Print(const std::string& name, double value, const std::string& unit, const std::string& peer,
           double peer_value) {
  const nlohmann::ordered_json line = {
      {"name", name}, {"value", value},           {"unit", unit},
      {"peer", peer}, {"peer_value", peer_value}, {"ratio", value / peer_value}};
  fmt::print("{}\n", line.dump());
}

// --- The same families for prometheus-cpp, read from our page: its names and values are plain.

std::vector<ClientMetric::Label> LabelsOf(std::string_view text) {
  std::vector<ClientMetric::Label> labels;
  while (!text.empty()) {
    const std::size_t equals = text.find("=\"");
    const std::size_t end = text.find('"', equals + 2);
    labels.push_back({std::string(text.substr(0, equals)),
                      std::string(text.substr(equals + 2, end - equals - 2))});
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return labels;
}

double NumberOf(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

// One line of a histogram; its series ends with _count.
void AddToHistogram(std::string_view suffix, std::vector<ClientMetric::Label> labels, double value,
                    bool& open, MetricFamily& family) {
  double bound = 0;
  if (suffix == "_bucket") {
    bound = NumberOf(labels.back().value);
    labels.pop_back();
  }
  if (!open) family.metric.emplace_back().label = std::move(labels);
  open = suffix != "_count";
  ClientMetric::Histogram& histogram = family.metric.back().histogram;
  if (suffix == "_bucket") {
    histogram.bucket.push_back({static_cast<std::uint64_t>(value), bound});
  } else if (suffix == "_sum") {
    histogram.sample_sum = value;
  } else {
    histogram.sample_count = static_cast<std::uint64_t>(value);
  }
}

void AddSample(const std::string& line, bool& open, MetricFamily& family) {
  const std::size_t brace = line.find('{');
  const std::size_t blank = line.rfind(' ');
  const std::string_view name = std::string_view(line).substr(0, std::min(brace, blank));
  std::vector<ClientMetric::Label> labels;
  if (brace != std::string::npos) {
    labels = LabelsOf(std::string_view(line).substr(brace + 1, blank - brace - 2));
  }
  const double value = NumberOf(line.substr(blank + 1));
  if (family.type == MetricType::Histogram) {
    return AddToHistogram(name.substr(family.name.size()), std::move(labels), value, open, family);
  }
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
}

std::vector<MetricFamily> FamiliesOf(const std::string& page) {
  const std::map<std::string, MetricType> types = {{"gauge", MetricType::Gauge},
                                                   {"counter", MetricType::Counter},
                                                   {"histogram", MetricType::Histogram}};
  std::vector<MetricFamily> families;
  std::istringstream lines(page);
  std::string line;
  bool open = false;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string hash;
    std::string keyword;
    std::string name;
    if (!line.starts_with('#')) {
      AddSample(line, open, families.back());
    } else if (words >> hash >> keyword >> name; keyword == "HELP") {
      families.push_back({name, line.substr(line.find(name) + name.size() + 1), {}, {}});
    } else {
      words >> keyword;
      families.back().type = types.at(keyword);
    }
  }
  return families;
}

std::string BySerializer(const std::vector<MetricFamily>& families) {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return std::move(text).str();
}

// --- Ours

class Exporter {
 public:
  Exporter() : metrics_(metrics::Roles{}), mesh_(SnapshotOf({}, 2)) {
    metrics_.OnSnapshot(SnapshotOf({}, 1));
    metrics_.OnSnapshot(mesh_);
  }

  [[nodiscard]] std::string Page(base::MetricsSyntax syntax) {
    metrics::TextWriter page(syntax, page_size_.Expected());
    metrics_.Write(mesh_, {}, {mesh_.taken_at, base::WallTime()}, page);
    std::string text = page.Finish();
    page_size_.Saw(text.size());
    return text;
  }

 private:
  metrics::MeshMetrics metrics_;
  metrics::PageSize page_size_;
  collect::MeshSnapshot mesh_;
};

double MedianScrapeMilliseconds(const std::function<std::string()>& page) {
  auto server = base::HttpServer::Start(
      {.listen_addresses = {"127.0.0.1:0"}, .threads = 2},
      [&](const base::ServerRequest& /*request*/) { return base::ServerResponse{.body = page()}; });
  if (!server) Fail(server.error().message);
  base::IoThread io;
  std::vector<double> times;
  for (int i = 0; i < kRuns; ++i) {
    base::HttpRequest request;
    request.url = fmt::format("http://127.0.0.1:{}/metrics", (*server)->ports().front());
    const auto started = std::chrono::steady_clock::now();
    const auto answer = base::Fetch(io.loop(), request);
    if (!answer || answer->status != 200) Fail("the page was not served");
    const std::chrono::duration<double, std::milli> took =
        std::chrono::steady_clock::now() - started;
    times.push_back(took.count());
  }
  return MedianOf(std::move(times));
}

// Level 1, zlib's fastest.
void Compress(const std::string& page) {
  uLongf size = compressBound(page.size());
  std::string packed(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                reinterpret_cast<const Bytef*>(page.data()), page.size(), 1) != Z_OK) {
    Fail("zlib refused");
  }
}

void Main() {
  using enum base::MetricsSyntax;
  Exporter exporter;
  const std::string page = exporter.Page(kText);
  const std::vector<MetricFamily> families = FamiliesOf(page);
  const auto lines = [](const std::string& text) { return std::ranges::count(text, '\n'); };
  if (lines(BySerializer(families)) != lines(page)) Fail("the peer writes other series");

  const std::string peer = "prometheus-cpp's TextSerializer on the same families, built before";
  const double by_peer = MedianCpuMilliseconds([&] { (void)BySerializer(families); });
  const double by_us = MedianCpuMilliseconds([&] { (void)exporter.Page(kText); });
  const double open_metrics = MedianCpuMilliseconds([&] { (void)exporter.Page(kOpenMetrics); });
  Print("metrics_1000_services", by_us, "ms", peer, by_peer);
  Print("metrics_1000_services_openmetrics", open_metrics, "ms", peer, by_peer);
  Print("metrics_1000_services_scrape",
        MedianScrapeMilliseconds([&] { return exporter.Page(kText); }), "ms", peer,
        MedianScrapeMilliseconds([&] { return BySerializer(families); }));

  const std::size_t before = BytesOnHeap();
  ForgetPeak();
  (void)exporter.Page(kText);
  Print("metrics_1000_services_peak", static_cast<double>(PeakBytesOnHeap() - before), "bytes",
        "the page's own text", static_cast<double>(page.size()));
  Print("metrics_1000_services_gzip", MedianCpuMilliseconds([&] { Compress(page); }), "ms",
        "writing the page", by_us);
}

}  // namespace
}  // namespace consul_canary::benchmarks

int main() { consul_canary::benchmarks::Main(); }
