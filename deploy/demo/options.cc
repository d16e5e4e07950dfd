#include "deploy/demo/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace consul_canary::demo {
namespace {

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = {
      {"healthy", "promoted", "", {}, "v2 is as good as v1: it shall be promoted"},
      {"failing",
       "rolled-back",
       "failure_ratio=0.2&status=500",
       {},
       "v2 begins to answer a fifth of its requests with 500: it shall be rolled back"},
      {"slow",
       "rolled-back",
       "delay_ms=200",
       {},
       "v2 begins to take 200 ms longer for each request and fails none: it shall be rolled back"},
      {"hanging",
       "rolled-back",
       "hang=1",
       {},
       "v2 begins to accept requests and to answer none: it shall be rolled back"},
      {"retried",
       "rolled-back",
       "failure_ratio=0.2&status=500",
       {500, 503},
       "as failing, but callers' sidecars retry 3 times and hide it: it shall be rolled back all "
       "the same"},
      {"shielded",
       "rolled-back",
       "failure_ratio=1&status=500",
       {},
       "v2 gets half of the traffic behind the shield, and begins to fail every request: it shall "
       "be rolled back, and callers shall see next to nothing of it",
       true},
  };
  return scenarios;
}

constexpr std::string_view kNames = "healthy, failing, slow, hanging, retried and shielded";

constexpr std::string_view kUsage =
    R"(Usage: deploy/demo/run [--scenario healthy|failing|slow|hanging|retried|shielded] [--rate RPS] [--keep] [--no-install]

Brings up a real mesh on this machine (Consul, Envoy sidecars, an application in two versions, load), rolls v2 out
with consul-canary, shows it live on stderr, and prints one JSON line on stdout. Exit code 0: the outcome was the right
one; 1: it was not, or a part failed; 2: wrong options.

  --scenario NAME        healthy (default), failing, slow, hanging, retried, shielded
  --rate RPS             requests a second, 100 by default
  --base-failures RATIO  failure ratio of both versions all along, 0 by default
  --seed N               another choice of the requests that fail, 1 by default
  --limit SECONDS        for the rollout, 300 by default
  --no-monitoring        without Prometheus and Alertmanager
  --keep                 leaves all running and prints the addresses; deploy/demo/stop ends it
  --no-install           does not look for missing packages first
)";

tl::unexpected<Ending> Wrong(std::string_view problem) {
  return tl::unexpected(Ending{2, fmt::format("{}\n\n{}", problem, kUsage)});
}

tl::expected<Scenario, Ending> FindScenario(std::string_view name) {
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.name == name) return scenario;
  }
  return Wrong(fmt::format("no scenario {}; there are {}", name, kNames));
}

struct NumberFlag {
  double low;
  double high;
  double* value;

  [[nodiscard]] bool Take(const std::string& text) const {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
    return error == std::errc() && end == text.data() + text.size() && *value >= low &&
           *value <= high;
  }
};

}  // namespace

tl::expected<Options, Ending> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  std::string scenario = "healthy";
  double limit = options.limit_seconds;
  double seed = options.seed;
  const std::map<std::string_view, bool*> switches = {{"--keep", &options.keep},
                                                      {"--no-monitoring", &options.no_monitoring}};
  const std::map<std::string_view, NumberFlag> numbers = {
      {"--rate", {1, 2000, &options.rate}},
      {"--base-failures", {0, 1, &options.base_failures}},
      {"--limit", {1, 86400, &limit}},
      {"--seed", {0, 1e6, &seed}}};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& flag = arguments[i];
    if (flag == "--help" || flag == "-h") return tl::unexpected(Ending{0, std::string(kUsage)});
    if (const auto known = switches.find(flag); known != switches.end()) {
      *known->second = true;
      continue;
    }
    const std::string value = i + 1 < arguments.size() ? arguments[++i] : "";
    if (flag == "--scenario") {
      scenario = value;
    } else if (const auto known = numbers.find(flag); known == numbers.end()) {
      return Wrong(fmt::format("no option {}", flag));
    } else if (!known->second.Take(value)) {
      return Wrong(fmt::format("{} takes a number from {} to {}, not '{}'", flag, known->second.low,
                               known->second.high, value));
    }
  }
  options.limit_seconds = static_cast<int>(limit);
  options.seed = static_cast<int>(seed);
  return FindScenario(scenario).map([&](const Scenario& found) {
    options.scenario = found;
    return options;
  });
}

}  // namespace consul_canary::demo
