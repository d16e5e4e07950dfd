#include "tests/simulation/effort.h"

#include "tests/simulation/figures.h"

namespace consul_canary::simulation {

std::vector<Outcome> RunOften(Setting setting, int runs, std::uint64_t seed, const Effort& effort) {
  if (setting.before == kBriefly) setting.before = effort.before();
  return Repeat(runs, effort.threads,
                [&](int run) { return Run(setting, seed, static_cast<std::uint64_t>(run)); });
}

}  // namespace consul_canary::simulation
