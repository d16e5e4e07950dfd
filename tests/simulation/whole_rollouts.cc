#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kAlpha = 0.01;
constexpr double kBeta = 0.05;
constexpr double kFailureRatio = 0.001;

struct Case {
  double requests_per_second;
  double excess;
  int short_runs;
};

rollout::Spec DefaultSpec() {
  rollout::Spec spec;
  spec.service = "api";
  for (const double weight : {1, 5, 10, 25, 50}) spec.steps.push_back({.weight_percent = weight});
  return spec;
}

Row Measure(const Case& c, std::uint64_t seed, const Effort& effort) {
  const Setting setting{.traffic = {.requests_per_second = c.requests_per_second,
                                    .failure_ratio = kFailureRatio,
                                    .request_timeout_seconds = 15,
                                    .latency = Latency{},
                                    .fault = {.excess = c.excess}},
                        .spec = DefaultSpec(),
                        .horizon_seconds = 4 * 3600};
  const std::vector<Outcome> outcomes =
      RunOften(setting, effort.runs(c.short_runs, 200), seed, effort);
  std::vector<Outcome> promoted;
  for (const Outcome& outcome : outcomes) {
    if (outcome.promoted) promoted.push_back(outcome);
  }
  const Figure rolled_back = ShareOver(outcomes, &Outcome::rolled_back);
  const Figure share = ShareOver(outcomes, &Outcome::promoted);
  Row row{.labels = {fmt::format("{:g}", c.requests_per_second),
                     fmt::format("{:g}%", (kFailureRatio + c.excess) * 100)},
          .figures = {share, rolled_back, MeanOver(outcomes, &Outcome::failures), std::nullopt}};
  if (!promoted.empty()) row.figures.back() = MeanOver(promoted, &Outcome::seconds);
  const bool is_good = c.excess == 0;
  if (is_good && !KeepsShare(rolled_back, kAlpha)) row.broken = "rolled back too often";
  if (!is_good && !KeepsShare(share, kBeta)) row.broken = "promoted too often";
  return row;
}

}  // namespace

std::vector<Table> WholeRollouts(const Effort& effort) {
  Table table{.id = "whole_rollouts",
              .title =
                  "Whole rollouts with the default specification (steps 1, 5, 10, 25, 50, margin "
                  "0.01, α = .01, β = .05), primary 0.1%, latency watched, at most 4 h",
              .label_names = {"requests a second", "canary fails"},
              .columns = {{"promoted", Unit::kPercent},
                          {"rolled back", Unit::kPercent},
                          {"canary's failed requests", Unit::kRequests},
                          {"s until promoted", Unit::kSeconds}}};
  std::uint64_t seed = 700;
  for (const Case& c :
       {Case{10, 0, 0}, Case{100, 0, 20}, Case{1000, 0, 0}, Case{10, .015, 0}, Case{100, .015, 30},
        Case{1000, .015, 0}, Case{100, .05, 0}, Case{100, .5, 0}}) {
    ++seed;
    if (effort.is_long || c.short_runs > 0) table.rows.push_back(Measure(c, seed, effort));
  }
  return {table};
}

}  // namespace consul_canary::simulation
