// What the demo was asked to do, and what each scenario means.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"

namespace consul_canary::demo {

struct Scenario {
  std::string_view name;
  std::string_view outcome;      // promoted, rolled-back or unfinished: the right end
  std::string_view fault;        // for v2 once the first step is warm; empty: none
  std::vector<int> retry_codes;  // of the router; empty: no router
  std::string_view story;        // one line for the terminal
  bool shielded = false;         // with consul-canaryctl shield, and half of the traffic at once
  bool outage = false;           // the fault is v1's as well, and after 30 s of it all is over
};

struct Options {
  Scenario scenario;
  double rate = 100;           // requests a second
  double base_failures = 0;    // failure ratio of both versions all along
  bool shield = false;         // with consul-canaryctl shield
  int instances = 1;           // of each version
  std::string weights;         // of the steps: "10, 25, 50"
  bool keep = false;           // leave all running
  bool no_monitoring = false;  // without Prometheus and Alertmanager
  int limit_seconds = 300;     // for the rollout
  int seed = 1;                // which of the requests fail
};

// The options, or the text and exit code to end with (help: 0, wrong flags: 2).
struct Ending {
  int code = 0;
  std::string text;
};
[[nodiscard]] tl::expected<Options, Ending> ParseOptions(const std::vector<std::string>& arguments);

}  // namespace consul_canary::demo
