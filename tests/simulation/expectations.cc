// What a tick multiplies the evidence by on average, where failures eject a canary that is as good
// as the primary: exactly, over every tick there can be. Above 1 it is unfair.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "analyzer/stats/block.h"
#include "analyzer/stats/ejected_block.h"
#include "tests/simulation/experiments.h"
#include "tests/unit/stats/ejected_ticks.h"

namespace consul_canary::simulation {
namespace {

constexpr double kRounding = 1e-9;

struct Mesh {
  int requests;
  double weight_ratio;
  int instances;
};

struct Greatest {
  double plain = 0;
  double fair = 0;
};

// Over the alternatives, where the primary is taken to fail at p and both fail at `rate`.
Greatest GreatestExpectation(const Mesh& mesh, const stats::EjectedTicks& ticks, double p) {
  constexpr std::size_t kGrid = stats::kOddsGridSize;
  std::array<double, kGrid> plain{}, fair{};
  const stats::Rate rate{p, 1 - p};
  ticks.ForEach([&](stats::EjectionTick tick, double chance) {
    if (chance < 1e-15) return;
    tick.weight_ratio = mesh.weight_ratio;
    tick.active_instances = mesh.instances;
    for (std::size_t k = 0; k < kGrid; ++k) {
      const auto worse = stats::RaiseOdds(rate, stats::EjectedHarmGrid().odds_ratios[k]);
      const auto bad = stats::RaiseOdds(rate, stats::HarmGrid().odds_ratios[k]);
      fair[k] += chance * std::exp(stats::LogEjectedBlock(tick, rate, worse));
      plain[k] += chance * std::exp(stats::LogBlock(tick.primary, tick.canary, rate, bad));
    }
  });
  return {std::ranges::max(plain), std::ranges::max(fair)};
}

Greatest GreatestExpectation(const Mesh& mesh) {
  Greatest greatest;
  for (const double rate : {.001, .01, .05, .2, .5, .9}) {
    for (const bool retried : {false, true}) {
      for (const auto& chance : {stats::StopsAfter(mesh.weight_ratio, mesh.instances),
                                 stats::SpillsOver(mesh.weight_ratio, mesh.instances)}) {
        const stats::EjectedTicks ticks({mesh.requests, rate, rate, retried, chance});
        for (const double p : {.001, .02, .3}) {
          const Greatest one = GreatestExpectation(mesh, ticks, p);
          greatest.plain = std::max(greatest.plain, one.plain);
          greatest.fair = std::max(greatest.fair, one.fair);
        }
      }
    }
  }
  return greatest;
}

std::vector<Mesh> MeshesOf(const Effort& effort) {
  std::vector<Mesh> meshes;
  const auto add = [&meshes](std::initializer_list<int> requests,
                             std::initializer_list<double> weights,
                             std::initializer_list<int> instances) {
    for (const int n : requests) {
      for (const double weight : weights) {
        for (const int one : instances) meshes.push_back({n, weight, one});
      }
    }
  };
  if (!effort.is_long) {
    add({20}, {.1, .5}, {1, 2});
    return meshes;
  }
  add({2, 5, 10, 20, 30}, {.01, .1, .5}, {1, 2, 3, 4});
  add({60}, {.1, .5}, {1, 4});
  return meshes;
}

}  // namespace

std::vector<Table> Expectations(const Effort& effort) {
  Table table{.id = "ejected_expectations",
              .title =
                  "Ejection: the greatest expectation of one tick's factor, exactly, for a "
                  "canary as good as the primary (six rates, three estimates of them, all "
                  "alternatives, with retries and without). Promised: at most 1",
              .label_names = {"requests", "weight", "canary instances"},
              .columns = {{"plain", Unit::kFactor}, {"under ejection", Unit::kFactor}}};
  const std::vector<Mesh> meshes = MeshesOf(effort);
  const auto all = Repeat(static_cast<int>(meshes.size()), effort.threads, [&](int i) {
    return GreatestExpectation(meshes[static_cast<std::size_t>(i)]);
  });
  for (std::size_t i = 0; i < meshes.size(); ++i) {
    Row row{.labels = {fmt::format("{}", meshes[i].requests),
                       fmt::format("{:g}", meshes[i].weight_ratio * 100),
                       fmt::format("{}", meshes[i].instances)},
            .figures = {Figure{all[i].plain, 0, 1}, Figure{all[i].fair, 0, 1}}};
    if (all[i].fair > 1 + kRounding) row.broken = "unfair";
    table.rows.push_back(std::move(row));
  }
  return {table};
}

}  // namespace consul_canary::simulation
