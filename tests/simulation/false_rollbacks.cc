#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kPromised = 0.01;          // the default alpha
constexpr double kPromisedClumped = 0.036;  // where failures clump, untuned

struct Case {
  std::string name;
  Traffic traffic;
  double weight_percent = 5;
  std::optional<double> promised = kPromised;
  int short_runs = 0;    // 0: only in the long form
  bool grows = false;    // from 1 to 50, ten minutes each
  bool clumped = false;  // known from ten minutes before
};

rollout::Spec SpecOf(const Case& c) {
  rollout::Spec spec = KeptAt(c.weight_percent);
  if (!c.grows) return spec;
  spec.steps.clear();
  for (const double weight : {1, 2, 5, 10, 25, 50}) {
    spec.steps.push_back({.weight_percent = weight, .min_duration = rollout::Seconds(600)});
  }
  spec.promote = rollout::PromoteMode::kNone;
  return spec;
}

std::vector<Case> Steady() {
  std::vector<Case> cases;
  for (const double failure_ratio : {.001, .01}) {
    for (const double rate : {10, 100, 1000}) {
      cases.push_back({.name = fmt::format("{:g} a second, {:g}% fail", rate, failure_ratio * 100),
                       .traffic = {.requests_per_second = rate, .failure_ratio = failure_ratio},
                       .short_runs = rate == 100 ? 40 : 0});
    }
  }
  cases.push_back({.name = "100 a second, 1% fail",
                   .traffic = {.failure_ratio = .01, .canary_instances = 10},
                   .weight_percent = 50});
  return cases;
}

std::vector<Case> Unsteady() {
  return {
      {.name = "bursty arrivals", .traffic = {.bursty_arrivals = true, .failure_ratio = .01}},
      {.name = "a common rate that swings",
       .traffic = {.failure_ratio = .01, .drift = Drift::kSine}},
      {.name = "a common rate that jumps",
       .traffic = {.failure_ratio = .01, .drift = Drift::kSteps},
       .short_runs = 40},
      {.name = "common outages of a second, 50 times as many failures",
       .traffic = {.common_burst = 50}},
      {.name = "the same, weight growing",
       .traffic = {.common_burst = 50},
       .weight_percent = 1,
       .short_runs = 40,
       .grows = true},
      {.name = "a caller loses its counters every 10 min",
       .traffic = {.failure_ratio = .01, .resets_per_hour = 6}},
  };
}

std::vector<Case> Clumped() {
  const PodBursts bursts{.per_hour = 6};
  std::vector<Case> cases = {
      {.name = "pod bursts",
       .traffic = {.pod_bursts = bursts},
       .promised = kPromisedClumped,
       .short_runs = 40},
      {.name = "pod bursts, 10 canary instances",
       .traffic = {.canary_instances = 10, .pod_bursts = bursts},
       .weight_percent = 50,
       .promised = kPromisedClumped},
      {.name = "pod bursts, 1000 a second",
       .traffic = {.requests_per_second = 1000, .pod_bursts = bursts},
       .promised = kPromisedClumped},
      {.name = "pod bursts, one canary instance with half of the requests (not promised)",
       .traffic = {.pod_bursts = bursts},
       .weight_percent = 50,
       .promised = std::nullopt},
      {.name = "retry clusters of 4 at one instance",
       .traffic = {.retries = {.attempts = 4}},
       .promised = kPromisedClumped,
       .short_runs = 40},
      {.name = "requests that fail 4 attempts, judged by the first",
       .traffic = {.retries = {.attempts = 4, .judged = false}},
       .promised = kPromised},
      {.name = "retry clusters of 4 over the instances",
       .traffic = {.retries = {.attempts = 4, .same_instance = false}},
       .promised = kPromisedClumped},
  };
  for (Case& c : cases) c.clumped = true;
  return cases;
}

Row Measure(const Case& c, std::uint64_t seed, const Effort& effort) {
  const Setting setting{.traffic = c.traffic,
                        .spec = SpecOf(c),
                        .horizon_seconds = effort.is_long ? 3600 : 1200,
                        .before = c.clumped ? kAtLength : kBriefly};
  const std::vector<Outcome> outcomes =
      RunOften(setting, effort.runs(c.short_runs, 500), seed, effort);
  const Figure share = ShareOver(outcomes, &Outcome::rolled_back);
  Row row{.labels = {c.name, c.grows ? "1 to 50" : fmt::format("{:g}", c.weight_percent),
                     c.promised ? fmt::format("{:g}%", *c.promised * 100) : ""},
          .figures = {share}};
  if (c.promised && !KeepsShare(share, *c.promised)) row.broken = "rolled back too often";
  return row;
}

}  // namespace

std::vector<Table> FalseRollbacks(const Effort& effort) {
  Table table{.id = "false_rollbacks",
              .title = fmt::format("Rolled back within {} min: canaries as good as the primary, "
                                   "α = .01; 100 requests a second of which 0.1% fail unless said "
                                   "otherwise",
                                   effort.is_long ? 60 : 20),
              .label_names = {"traffic", "weight", "promised"},
              .columns = {{"rolled back", Unit::kPercent}}};
  std::uint64_t seed = 100;
  for (const std::vector<Case>& cases : {Steady(), Unsteady(), Clumped()}) {
    for (const Case& c : cases) {
      ++seed;
      if (effort.is_long || c.short_runs > 0) table.rows.push_back(Measure(c, seed, effort));
    }
  }
  return {table};
}

}  // namespace consul_canary::simulation
