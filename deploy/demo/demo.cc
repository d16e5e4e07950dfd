// consul-canary-demo: the main job on a real mesh on one machine. deploy/demo/run builds it and
// calls it.
#include <fmt/format.h>

#include <optional>

#include "deploy/demo/keep.h"
#include "deploy/demo/options.h"
#include "deploy/demo/play.h"
#include "deploy/demo/progress.h"
#include "deploy/demo/stage.h"
#include "tests/support/wait.h"

namespace consul_canary::demo {
namespace {

// Prints the JSON line, and on a wrong end where to look; the exit code.
int Conclude(Stage& stage, const Options& options, Progress& progress,
             const base::Result<Outcome>& outcome) {
  if (!outcome) {
    progress.Say(outcome.error().message);
    if (!EndRequested()) progress.Say("the logs are in " + stage.KeepLogs());
    return 1;
  }
  const bool right = outcome->outcome == options.scenario.outcome;
  if (!right) {
    progress.Say(fmt::format("the outcome is {}, the right one is {}; the logs are in {}",
                             outcome->outcome, options.scenario.outcome, stage.KeepLogs()));
  }
  fmt::print("{}\n", ToJson(options.scenario.name, *outcome));
  std::fflush(stdout);
  return right ? 0 : 1;
}

int Run(const Options& options, const std::function<void(int)>& report) {
  WatchForEnd();
  Progress progress;
  progress.Say(fmt::format("scenario {}: {}", options.scenario.name, options.scenario.story));
  progress.Say("bringing up Consul, the sidecars, exporter, analyzer and monitoring");
  const auto stage = Stage::Start(options);
  if (!stage) {
    progress.Say(stage.error().message);
    return 1;
  }
  for (const auto& [name, address] : (*stage)->Addresses())
    progress.Say(fmt::format("  {:<22}{}", name, address));
  const int code =
      Conclude(**stage, options, progress, Play(**stage, options, progress, EndRequested));
  if (options.keep && !EndRequested()) {
    const RunningDemoFile file((*stage)->Addresses());
    progress.Say("everything goes on running, load included; deploy/demo/stop ends it");
    report(code);
    while (!testing::WaitUntil(EndRequested, testing::seconds(3600), testing::milliseconds(200))) {
    }
  }
  return code;
}

int Main(const std::vector<std::string>& arguments) {
  const auto options = ParseOptions(arguments);
  if (!options) {
    fmt::print(options.error().code == 0 ? stdout : stderr, "{}", options.error().text);
    return options.error().code;
  }
  if (!options->keep) return Run(*options, [](int) {});
  return RunDetached([&](const std::function<void(int)>& report) {
    const int code = Run(*options, report);
    report(code);  // a second report is not heard
  });
}

}  // namespace
}  // namespace consul_canary::demo

int main(int argc, char** argv) { return consul_canary::demo::Main({argv + 1, argv + argc}); }
