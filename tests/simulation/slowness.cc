#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kPromised = 0.01;

Setting Watched(double requests_per_second, double weight_percent) {
  return {.traffic = {.requests_per_second = requests_per_second, .latency = Latency{}},
          .spec = KeptAt(weight_percent)};
}

struct Healthy {
  double requests_per_second;
  double weight_percent;
  double stalls_per_hour;
  int short_runs;
  double cold_seconds = 0;  // with the default warm-up of 5 s
};

std::string UnusualOf(const Healthy& healthy) {
  if (healthy.cold_seconds > 0) {
    return fmt::format("cold for {:g} s, warm-up 5 s", healthy.cold_seconds);
  }
  if (healthy.stalls_per_hour == 0) return "nothing";
  return fmt::format("{:g} stalls of 0.3 s an hour and instance", healthy.stalls_per_hour);
}

Table FalseRollbacksOfSlowness(const Effort& effort) {
  Table table{
      .id = "latency_false_rollbacks",
      .title = fmt::format("Rolled back within {} min while eight latency edges and hanging "
                           "requests are watched too: canaries as good as the primary "
                           "(0.1% fail, median 45 ms, α = .01)",
                           effort.is_long ? 60 : 10),
      .label_names = {"requests a second", "weight", "unusual", "promised"},
      .columns = {{"rolled back", Unit::kPercent}}};
  std::uint64_t seed = 500;
  for (const Healthy& healthy :
       {Healthy{10, 5, 0, 0}, Healthy{100, 5, 0, 30}, Healthy{100, 50, 0, 0},
        Healthy{1000, 5, 0, 0}, Healthy{100, 5, 60, 30}, Healthy{1000, 5, 60, 0},
        Healthy{100, 5, 0, 50, 4}, Healthy{400, 5, 0, 0, 4}}) {
    ++seed;
    const int runs = effort.runs(healthy.short_runs, 300);
    if (runs == 0) continue;
    Setting setting = Watched(healthy.requests_per_second, healthy.weight_percent);
    setting.traffic.latency->stalls_per_hour = healthy.stalls_per_hour;
    setting.traffic.latency->cold_seconds = healthy.cold_seconds;
    if (healthy.cold_seconds > 0) setting.spec.warmup = rollout::Seconds(5);
    setting.horizon_seconds = effort.is_long ? 3600 : 600;
    const Figure share = ShareOver(RunOften(setting, runs, seed, effort), &Outcome::rolled_back);
    Row row{.labels = {fmt::format("{:g}", healthy.requests_per_second),
                       fmt::format("{:g}", healthy.weight_percent), UnusualOf(healthy), "1%"},
            .figures = {share}};
    if (!KeepsShare(share, kPromised)) row.broken = "rolled back too often";
    table.rows.push_back(std::move(row));
  }
  return table;
}

struct Slow {
  double requests_per_second;
  double slower;
  int short_runs;
};

Table RollbacksOfSlowness(const Effort& effort) {
  Table table{.id = "slow_canaries",
              .title =
                  "Slow canaries: seconds until they are rolled back (weight 5, α = .01; "
                  "histograms move every 5 s; who is not found within an hour counts with it)",
              .label_names = {"requests a second", "its requests take"},
              .columns = {{"s", Unit::kSeconds}, {"rolled back", Unit::kPercent}}};
  std::uint64_t seed = 520;
  for (const Slow& slow :
       {Slow{10, 1.2, 0}, Slow{10, 2, 0}, Slow{100, 1.2, 0}, Slow{100, 1.5, 0}, Slow{100, 2, 50},
        Slow{100, 5, 100}, Slow{1000, 1.2, 0}, Slow{1000, 2, 50}}) {
    ++seed;
    const int runs = effort.runs(slow.short_runs, 200);
    if (runs == 0) continue;
    Setting setting = Watched(slow.requests_per_second, 5);
    setting.traffic.fault.slower = slow.slower;
    const std::vector<Outcome> outcomes = RunOften(setting, runs, seed, effort);
    const Figure found = ShareOver(outcomes, &Outcome::rolled_back);
    Row row{.labels = {fmt::format("{:g}", slow.requests_per_second),
                       fmt::format("{:g} times as long", slow.slower)},
            .figures = {MeanOver(outcomes, &Outcome::seconds), found}};
    if (slow.short_runs > 0 && found.mean < 1) row.broken = "not found";
    table.rows.push_back(std::move(row));
  }
  return table;
}

// What failures cost more where other metrics hold a part of the stake.
Table RollbacksWhileWatched(const Effort& effort) {
  Table table{.id = "failing_while_watched",
              .title =
                  "Canaries that fail, while latency and hanging requests are watched too: "
                  "primary 0.1%, weight 5, α = .01",
              .label_names = {"requests a second", "canary fails"},
              .columns = {{"failed", Unit::kRequests}, {"s", Unit::kSeconds}}};
  std::uint64_t seed = 540;
  for (const double rate : {10, 100, 1000}) {
    for (const double canary_rate : {.05, .5}) {
      Setting setting = Watched(rate, 5);
      setting.traffic.fault.excess = canary_rate - setting.traffic.failure_ratio;
      const auto outcomes = RunOften(setting, effort.runs(0, 400), ++seed, effort);
      table.rows.push_back(
          {.labels = {fmt::format("{:g}", rate), fmt::format("{:g}%", canary_rate * 100)},
           .figures = {MeanOver(outcomes, &Outcome::failures),
                       MeanOver(outcomes, &Outcome::seconds)}});
    }
  }
  return table;
}

}  // namespace

std::vector<Table> Slowness(const Effort& effort) {
  std::vector<Table> tables = {FalseRollbacksOfSlowness(effort), RollbacksOfSlowness(effort)};
  if (effort.is_long) tables.push_back(RollbacksWhileWatched(effort));
  return tables;
}

}  // namespace consul_canary::simulation
