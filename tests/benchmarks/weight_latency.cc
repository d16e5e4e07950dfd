// From a splitter write to the changed weight on the exporter's /metrics, on a real Consul agent,
// alone and in a mesh of a thousand services. The peer is a bare blocking query on the same list,
// answered for the same write: what Consul itself takes. Prints JSON lines; exits with 1 where a
// part is missing.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/consul_agent.h"
#include "tests/support/daemons.h"
#include "tests/support/http.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

constexpr int kWrites = 51;
constexpr int kOtherServices = 999;
constexpr const char* kList = "/v1/config/service-splitter";

struct Latency {
  double consul_ms = 0;
  double metrics_ms = 0;
};

std::string Splitter(const std::string& service, int canary) {
  return fmt::format(R"({{"Kind":"service-splitter","Name":"{}","Splits":[
      {{"Weight":{},"ServiceSubset":"primary"}},{{"Weight":{},"ServiceSubset":"canary"}}]}})",
                     service, 100 - canary, canary);
}

bool WriteService(ConsulAgent& consul, const std::string& service) {
  for (const std::string& entry :
       {fmt::format(R"({{"Kind":"service-defaults","Name":"{}","Protocol":"http"}})", service),
        fmt::format(R"({{"Kind":"service-resolver","Name":"{}","Subsets":{{
            "primary":{{"Filter":"Service.Meta.version == v1"}},
            "canary":{{"Filter":"Service.Meta.version == v2"}}}}}})",
                    service),
        Splitter(service, 0)}) {
    if (!consul.WriteEntry(entry)) return false;
  }
  return true;
}

// The time of the blocking query's answer. Returns once the query is on its way.
class BlockingPeer {
 public:
  BlockingPeer(const Http& http, const ConsulAgent& consul) {
    const auto now = http.Call("GET", consul.address() + kList);
    if (!now) return;
    const auto index = now->headers.find("x-consul-index");
    const std::string url = fmt::format("{}{}?index={}&wait=30s", consul.address(), kList,
                                        index == now->headers.end() ? "1" : index->second);
    answer_ = std::async(std::launch::async, [&http, url]() -> std::optional<Clock::time_point> {
      if (!http.Call("GET", url, "", {}, seconds(40))) return std::nullopt;
      return Clock::now();
    });
  }

  std::optional<Clock::time_point> Answered() {
    return answer_.valid() ? answer_.get() : std::nullopt;
  }

 private:
  std::future<std::optional<Clock::time_point>> answer_;
};

// Of the canary; -1 where the page has none.
double WeightOn(std::string_view page) {
  constexpr std::string_view kSeries =
      "consul_canary_split_weight_ratio{service_name=\"api\",subset=\"canary\",role=\"canary\"} ";
  const std::size_t at = page.find(kSeries);
  double weight = -1;
  if (at == std::string_view::npos) return weight;
  page.remove_prefix(at + kSeries.size());
  (void)std::from_chars(page.data(), page.data() + page.size(), weight);
  return weight;
}

std::optional<Latency> Measure(ConsulAgent& consul, const Http& http, const Daemon& exporter,
                               int canary) {
  BlockingPeer peer(http, consul);
  // Both queries wait in Consul by then; what it coalesces is past.
  Pass(milliseconds(250));
  const Clock::time_point begin = Clock::now();
  if (!consul.WriteEntry(Splitter("api", canary))) return std::nullopt;
  const bool seen = WaitUntil(
      [&] {
        const auto page = http.Get(exporter.address() + "/metrics");
        return page && std::abs(100 * WeightOn(*page) - canary) < 1e-6;
      },
      seconds(10), milliseconds(1));
  const Clock::time_point shown = Clock::now();
  const std::optional<Clock::time_point> answered = peer.Answered();
  if (!seen || !answered) return std::nullopt;
  return Latency{Milliseconds(*answered - begin).count(), Milliseconds(shown - begin).count()};
}

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

int Fail(const std::string& reason) {
  fmt::print(stderr, "weight_latency_benchmark: {}\n", reason);
  return EXIT_FAILURE;
}

// Why it could not be measured; empty: the figure is printed.
std::string MeasureAll(ConsulAgent& consul, const Http& http, const Daemon& exporter,
                       std::string_view mesh) {
  std::vector<double> consul_ms;
  std::vector<double> metrics_ms;
  for (int write = 0; write < kWrites; ++write) {
    const std::optional<Latency> latency = Measure(consul, http, exporter, 1 + write);
    if (!latency) return fmt::format("write {} does not show", write);
    consul_ms.push_back(latency->consul_ms);
    metrics_ms.push_back(latency->metrics_ms);
  }
  const double ours = Median(metrics_ms);
  const double peer = Median(consul_ms);
  fmt::print(R"({{"name":"splitter write to the weight on /metrics, {}, median of {}",)"
             R"("value":{:.3f},"unit":"ms","peer":"a bare blocking query","peer_value":{:.3f},)"
             R"("ratio":{:.3f}}})"
             "\n",
             mesh, kWrites, ours, peer, ours / peer);
  return "";
}

int Main() {
  auto consul = ConsulAgent::Start();
  if (!consul) return Fail(consul.error().message);
  if (!WriteService(**consul, "api")) return Fail("Consul does not take the entries");
  auto exporter = StartExporter(**consul);
  if (!exporter) return Fail(exporter.error().message);
  const Http http;
  if (!WaitUntil([&] { return http.Answers((*exporter)->address() + "/-/ready"); }, seconds(20))) {
    return Fail("the exporter does not become ready");
  }
  if (std::string why = MeasureAll(**consul, http, **exporter, "1 service"); !why.empty()) {
    return Fail(why);
  }
  for (int other = 0; other < kOtherServices; ++other) {
    if (!WriteService(**consul, fmt::format("other-{}", other))) {
      return Fail("Consul does not take the entries");
    }
  }
  const std::string last = fmt::format("service_name=\"other-{}\"", kOtherServices - 1);
  const auto shows_all = [&] {
    const auto page = http.Get((*exporter)->address() + "/metrics");
    return page && page->find(last) != std::string::npos;
  };
  if (!WaitUntil(shows_all, seconds(30))) return Fail("the other services do not show");
  if (std::string why = MeasureAll(**consul, http, **exporter, "1,000 services"); !why.empty()) {
    return Fail(why);
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace consul_canary::testing

int main() { return consul_canary::testing::Main(); }
