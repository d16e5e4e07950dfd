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
      {"outage",
       "unfinished",
       "failure_ratio=0.5&status=500",
       {500, 502, 503, 504},
       "v1 and v2 begin to fail half of their requests, callers' sidecars retry 3 times: nobody's "
       "fault, so nothing shall be advanced or rolled back",
       false,
       true},
  };
  return scenarios;
}

constexpr std::string_view kNames = "healthy, failing, slow, hanging, retried, shielded and outage";

constexpr std::string_view kUsage =
    R"(Usage: deploy/demo/run [--scenario NAME] [--rate RPS] [--keep] [--no-install]

Brings up a real mesh on this machine (Consul, Envoy sidecars, an application in two versions, load), rolls v2 out
with consul-canary, shows it live on stderr, and prints one JSON line on stdout. Exit code 0: the outcome was the right
one; 1: it was not, or a part failed; 2: wrong options.

  --scenario NAME        healthy (default), failing, slow, hanging, retried, shielded, outage
  --rate RPS             requests a second, 100 by default
  --base-failures RATIO  failure ratio of both versions all along, 0 by default
  --shield               any scenario behind the shield (docs/shield.md)
  --weights W,W,...      of the steps, 10,25,50 by default; shielded and outage: 50
  --instances N          of each version, 1 by default
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

// Whether they rise and are percents is for consul-canaryctl to say.
bool IsWeights(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789.,") == std::string::npos;
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
  double instances = options.instances;
  const std::map<std::string_view, bool*> switches = {{"--keep", &options.keep},
                                                      {"--no-monitoring", &options.no_monitoring},
                                                      {"--shield", &options.shield}};
  const std::map<std::string_view, NumberFlag> numbers = {
      {"--rate", {1, 2000, &options.rate}},
      {"--base-failures", {0, 1, &options.base_failures}},
      {"--limit", {1, 86400, &limit}},
      {"--instances", {1, 5, &instances}},
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
    } else if (flag == "--weights") {
      if (!IsWeights(value)) {
        return Wrong(fmt::format("--weights takes percents like 10,25,50, not '{}'", value));
      }
      options.weights = value;
    } else if (const auto known = numbers.find(flag); known == numbers.end()) {
      return Wrong(fmt::format("no option {}", flag));
    } else if (!known->second.Take(value)) {
      return Wrong(fmt::format("{} takes a number from {} to {}, not '{}'", flag, known->second.low,
                               known->second.high, value));
    }
  }
  options.limit_seconds = static_cast<int>(limit);
  options.seed = static_cast<int>(seed);
  options.instances = static_cast<int>(instances);
  return FindScenario(scenario).map([&](const Scenario& found) {
    options.scenario = found;
    options.shield = options.shield || found.shielded;
    if (options.weights.empty())
      options.weights = found.shielded || found.outage ? "50" : "10,25,50";
    return options;
  });
}

}  // namespace consul_canary::demo
