// What an analyzer with a thousand live rollouts costs, and how long it takes from a decision to
// the splitter: the real program on a real Consul, nginx in place of a thousand sidecars. Prints
// JSON lines; exits with 1 where a part is missing. Arguments, each with its default: how many
// rollouts, for how many seconds, and how many of them are rolled back one after the other.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"
#include "analyzer/control/keys.h"
#include "analyzer/control/stored_json.h"
#include "tests/benchmarks/rollout_farm.h"
#include "tests/support/consul_agent.h"
#include "tests/support/daemons.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::benchmarks {
namespace {

using base::seconds;
using testing::ConsulAgent;
using testing::Daemon;
using testing::Http;
using Json = nlohmann::json;

constexpr double kMillisecondsPerSecond = 1000;

void Print(std::string_view name, double value, std::string_view unit, std::string_view peer,
           double peer_value) {
  const Json line = {{"name", name}, {"value", value},           {"unit", unit},
                     {"peer", peer}, {"peer_value", peer_value}, {"ratio", value / peer_value}};
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
}

struct Extent {
  std::size_t rollouts = 1000;
  std::size_t seconds = 30;      // measured, after three times as many of rest
  std::size_t rolled_back = 21;  // one after the other
};

int Fail(const std::string& reason) {
  fmt::print(stderr, "rollouts_benchmark: {}\n", reason);
  return EXIT_FAILURE;
}

// Of all its threads, since it began.
double CpuSeconds(pid_t process) {
  std::istringstream fields(testing::ReadFile(fmt::format("/proc/{}/stat", process)));
  std::string name;
  std::getline(fields, name, ')');
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Blocking queries that this agent holds, as it counts them itself: its own are among them.
// nullopt: it did not say, which it does only when their number moves.
std::optional<double> BlockingQueries(const ConsulAgent& consul) {
  const auto page = consul.Get("/v1/agent/metrics");
  if (!page) return std::nullopt;
  const Json metrics = Json::parse(*page, nullptr, false);
  if (!metrics.contains("Gauges")) return std::nullopt;
  for (const Json& gauge : metrics["Gauges"]) {
    if (gauge.value("Name", "").ends_with(".rpc.queries_blocking"))
      return gauge.value("Value", 0.0);
  }
  return std::nullopt;
}

// The most that it has held since Begin(), without what it held before the analyzer was there.
class HeldQueries {
 public:
  HeldQueries(const ConsulAgent& consul, double without) : consul_(consul), without_(without) {}

  void Look() {
    now_ = BlockingQueries(consul_).value_or(now_);
    most_ = std::max(most_, now_);
  }
  void Begin() { most_ = now_; }
  [[nodiscard]] double most() const { return most_ - without_; }

 private:
  const ConsulAgent& consul_;
  double without_;
  double now_ = 0;
  double most_ = 0;
};

// Its TCP connections to that port on this machine: each blocking query holds one.
std::size_t ConnectionsTo(pid_t process, int port) {
  std::set<std::string> sockets;
  std::error_code error;
  for (const auto& file :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", process))) {
    const std::string target = std::filesystem::read_symlink(file.path(), error).string();
    if (target.starts_with("socket:[")) sockets.insert(target.substr(8, target.size() - 9));
  }
  std::istringstream table(testing::ReadFile(fmt::format("/proc/{}/net/tcp", process)));
  const std::string peer = fmt::format(":{:04X}", port);
  std::size_t count = 0;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string number, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    fields >> number >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
        timeout >> inode;
    if (remote.ends_with(peer) && sockets.contains(inode)) ++count;
  }
  return count;
}

std::string SpecOf(const std::string& service) {
  return fmt::format(
      R"({{"service":"{}","strategy":{{"warmup":"0s","deadline":"2h",
          "steps":[{{"weight":50,"min_duration":"1h"}}]}}}})",
      service);
}

// As they stand when an analyzer starts anew: to put a thousand through its API, which looks at the
// mesh for each, would take longer than the benchmark.
base::Result<void> StoreSpecs(const ConsulAgent& consul, const std::vector<std::string>& services) {
  for (const std::string& service : services) {
    const auto spec = config::ParseSpec(SpecOf(service));
    if (!spec) return base::Fail(base::ErrorCode::kInvalid, config::ToString(spec.error().front()));
    const auto put =
        consul.KvPut(control::SpecKey(service), control::StoredSpec(config::ToJson(*spec)));
    if (!put) return put;
  }
  return {};
}

// How many rollouts send the canary half of the traffic and judge it.
std::size_t LiveRollouts(const Http& http, const Daemon& analyzer) {
  const auto page = http.Call("GET", analyzer.address() + "/api/v1/rollouts", "", {}, seconds(20));
  if (!page) return 0;
  const Json answer = Json::parse(page->body, nullptr, false);
  if (!answer.contains("rollouts")) return 0;
  const auto is_live = [](const Json& rollout) {
    return rollout.value("stage", "") == "stepping" &&
           rollout["evidence"]["step"]["canary"].value("completed", 0) > 0;
  };
  return static_cast<std::size_t>(std::ranges::count_if(answer["rollouts"], is_live));
}

// A histogram of the analyzer: the count at or below each bound, in the page's order; +Inf last.
std::vector<std::pair<double, double>> Buckets(const std::string& page, std::string_view name) {
  const std::string series = fmt::format("{}_bucket{{le=\"", name);
  std::vector<std::pair<double, double>> buckets;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(series)) continue;
    const std::string bound = line.substr(series.size());
    buckets.emplace_back(bound.starts_with("+Inf") ? HUGE_VAL : std::strtod(bound.c_str(), nullptr),
                         std::strtod(line.c_str() + line.rfind(' '), nullptr));
  }
  return buckets;
}

// The least bound that holds this part of what was observed between the two pages; nullopt: nothing
// was.
std::optional<double> Quantile(const std::string& before, const std::string& after,
                               std::string_view name, double part) {
  const auto old = Buckets(before, name);
  const auto now = Buckets(after, name);
  if (old.size() != now.size() || now.empty()) return std::nullopt;
  const double all = now.back().second - old.back().second;
  if (all <= 0) return std::nullopt;
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (now[i].second - old[i].second >= part * all) return now[i].first;
  }
  return std::nullopt;
}

double WallNow() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// When the service's splitter was seen to give the canary nothing; 0: not within a minute.
double SeenBackAt(const Http& http, const ConsulAgent& consul, const std::string& service) {
  const std::string url = consul.address() + "/v1/config/service-splitter/" + service;
  std::string index = "1";
  const double last = WallNow() + 60;
  while (WallNow() < last) {
    const auto answer =
        http.Call("GET", fmt::format("{}?index={}&wait=20s", url, index), "", {}, seconds(40));
    const double now = WallNow();
    if (!answer || answer->status != 200) return 0;
    const auto moved = answer->headers.find("x-consul-index");
    if (moved != answer->headers.end()) index = moved->second;
    const Json entry = Json::parse(answer->body);
    for (const Json& split : entry["Splits"]) {
      if (split.value("ServiceSubset", "") == "canary" && split.value("Weight", 0.0) == 0) {
        return now;
      }
    }
  }
  return 0;
}

// From the decision to roll back until its weights are seen in Consul, in milliseconds.
base::Result<double> RollBackLatency(const Http& http, ConsulAgent& consul, const Daemon& analyzer,
                                     RolloutFarm& farm, const std::string& service) {
  auto seen = std::async(std::launch::async, [&] { return SeenBackAt(http, consul, service); });
  farm.Fail(service);
  const double seen_at = seen.get();
  const std::string url = analyzer.address() + "/api/v1/rollouts/" + service + "/decisions";
  const auto page = http.Get(url);
  if (!page) return tl::unexpected(page.error());
  const Json log = Json::parse(*page);
  for (const Json& decision : log["decisions"]) {
    if (decision.value("action", "") == "rollback" && seen_at > 0) {
      return (seen_at - decision.value("wall_seconds", 0.0)) * kMillisecondsPerSecond;
    }
  }
  return base::Fail(base::ErrorCode::kUnavailable, service + " was not rolled back");
}

int PortOf(const std::string& address) {
  return std::atoi(address.c_str() + address.rfind(':') + 1);
}

int MeasureTicks(const Http& http, const ConsulAgent& consul, Daemon& analyzer,
                 const Extent& extent, HeldQueries& queries) {
  const auto before = http.Get(analyzer.address() + "/metrics");
  const double cpu_before = CpuSeconds(analyzer.process().pid());
  const auto begin = std::chrono::steady_clock::now();
  std::size_t most_connections = 0;
  while (std::chrono::steady_clock::now() - begin < seconds(extent.seconds)) {
    most_connections = std::max(most_connections,
                                ConnectionsTo(analyzer.process().pid(), PortOf(consul.address())));
    queries.Look();
    testing::Pass(seconds(1));  // between two looks of a time that is measured
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const double cpu = CpuSeconds(analyzer.process().pid()) - cpu_before;
  const auto after = http.Get(analyzer.address() + "/metrics");
  if (!before || !after) return Fail("the analyzer's /metrics does not answer");
  const std::string of = fmt::format("{} live rollouts", extent.rollouts);
  Print("analyzer's CPU, " + of, cpu / took.count(), "cores", "goal", 0.5);
  Print("blocking queries at Consul, " + of, queries.most(), "queries", "goal", 50);
  Print("connections to Consul, " + of, static_cast<double>(most_connections), "connections",
        "an agent's limit", 200);
  const auto slowest = Quantile(*before, *after, "consul_canary_tick_duration_seconds", 0.99);
  const auto latest = Quantile(*before, *after, "consul_canary_tick_lateness_seconds", 0.99);
  if (!slowest || !latest || most_connections == 0) {
    return Fail("ticks or connections are not seen");
  }
  Print("a tick takes, 99% of them at most", *slowest * kMillisecondsPerSecond, "ms", "interval",
        kMillisecondsPerSecond);
  Print("a tick is late, 99% of them at most", *latest * kMillisecondsPerSecond, "ms", "interval",
        kMillisecondsPerSecond);
  return EXIT_SUCCESS;
}

// What has been done since the last time it was told, for whoever waits.
class Progress {
 public:
  void Done(std::string_view what) {
    const auto now = std::chrono::steady_clock::now();
    fmt::print(stderr, "{:.1f} s: {}\n", std::chrono::duration<double>(now - since_).count(), what);
    since_ = now;
  }

 private:
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

int Main(const Extent& extent) {
  const std::size_t rollouts = extent.rollouts;
  const Http http;
  Progress progress;
  auto consul = ConsulAgent::Start();
  if (!consul) return Fail(consul.error().message);
  std::optional<double> blocking_without;
  const auto is_told = [&] { return (blocking_without = BlockingQueries(**consul)).has_value(); };
  if (!testing::WaitUntil(is_told, seconds(20), base::milliseconds(200))) {
    return Fail("Consul does not tell its blocking queries");
  }
  auto farm = RolloutFarm::Start(**consul, rollouts);
  if (!farm) return Fail(farm.error().message);
  progress.Done("services stand in Consul");
  if (const auto stored = StoreSpecs(**consul, (*farm)->services()); !stored) {
    return Fail(stored.error().message);
  }
  progress.Done("specifications are stored");
  auto analyzer = testing::StartAnalyzer(**consul);
  if (!analyzer) return Fail(analyzer.error().message);
  const bool live = testing::WaitUntil([&] { return LiveRollouts(http, **analyzer) == rollouts; },
                                       seconds(600), seconds(1));
  if (!live) {
    return Fail(
        fmt::format("{} of {} rollouts are live", LiveRollouts(http, **analyzer), rollouts));
  }
  progress.Done("every canary gets half of the traffic");
  // What was given up while they began is not held for long.
  HeldQueries queries(**consul, *blocking_without);
  for (std::size_t second = 0; second < 3 * extent.seconds; ++second) {
    queries.Look();
    testing::Pass(seconds(1));
  }
  queries.Begin();
  const int failed = MeasureTicks(http, **consul, **analyzer, extent, queries);
  if (failed != 0) return failed;
  std::vector<double> milliseconds;
  for (std::size_t i = 0; i < std::min(extent.rolled_back, rollouts); ++i) {
    const auto latency =
        RollBackLatency(http, **consul, **analyzer, **farm, (*farm)->services()[i]);
    if (!latency) return Fail(latency.error().message);
    milliseconds.push_back(*latency);
  }
  std::ranges::sort(milliseconds);
  Print(fmt::format("decision to splitter, median of {}", milliseconds.size()),
        milliseconds[milliseconds.size() / 2], "ms", "goal", 100);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace consul_canary::benchmarks

int main(int argc, char** argv) {
  consul_canary::benchmarks::Extent extent;
  if (argc > 1) extent.rollouts = std::strtoul(argv[1], nullptr, 10);
  if (argc > 2) extent.seconds = std::strtoul(argv[2], nullptr, 10);
  if (argc > 3) extent.rolled_back = std::strtoul(argv[3], nullptr, 10);
  return consul_canary::benchmarks::Main(extent);
}
