#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kPrimaryRate = 0.001;
constexpr double kPromised = 2.3;  // times an immediate fault's failed requests

struct Case {
  double canary_rate;
  double planned_hours;
};

struct Measured {
  Figure failures;
  Figure seconds;
};

Measured After(const Case& c, int healthy_minutes, int runs, std::uint64_t seed,
               const Effort& effort) {
  Setting setting{.traffic = {.failure_ratio = kPrimaryRate,
                              .fault = {.after_seconds = 60.0 * healthy_minutes,
                                        .excess = c.canary_rate - kPrimaryRate}},
                  .spec = KeptAt(5)};
  setting.spec.deadline = rollout::Seconds(3600 * c.planned_hours);
  setting.horizon_seconds = 60 * healthy_minutes + 3600;
  std::vector<Outcome> outcomes = RunOften(setting, runs, seed, effort);
  // Those that were rolled back while they were healthy have their own table.
  std::erase_if(outcomes, [](const Outcome& outcome) { return outcome.seconds == 0; });
  return {MeanOver(outcomes, &Outcome::failures), MeanOver(outcomes, &Outcome::seconds)};
}

}  // namespace

std::vector<Table> LateFaults(const Effort& effort) {
  Table table{.id = "late_faults",
              .title = fmt::format("A fault that begins late: 100 requests a second, primary 0.1%, "
                                   "weight 5, α = .01; promised: at most {:g} times an immediate "
                                   "one's failed requests",
                                   kPromised),
              .label_names = {"canary fails", "planned for", "after"},
              .columns = {{"failed", Unit::kRequests},
                          {"s", Unit::kSeconds},
                          {"× an immediate fault's", Unit::kFactor}}};
  std::uint64_t seed = 300;
  for (const Case& c : {Case{.05, 1}, Case{.5, 1}, Case{.05, 5}, Case{.5, 5}}) {
    if (!effort.is_long && (c.planned_hours == 5 || c.canary_rate < .5)) continue;
    std::optional<Figure> immediate;
    for (const int minutes : {0, 10, 50}) {
      if (!effort.is_long && minutes == 50) continue;
      const int runs = effort.runs(minutes == 0 ? 400 : 60, 400);
      const Measured measured = After(c, minutes, runs, ++seed, effort);
      if (!immediate) immediate = measured.failures;
      const Figure ratio = RatioOf(measured.failures, *immediate);
      Row row{.labels = {fmt::format("{:g}%", c.canary_rate * 100),
                         fmt::format("{:g} h", c.planned_hours), fmt::format("{} min", minutes)},
              .figures = {measured.failures, measured.seconds}};
      row.figures.push_back(minutes == 0 ? std::nullopt : std::optional(ratio));
      if (!KeepsMean(ratio, kPromised)) row.broken = "a late fault costs too much";
      table.rows.push_back(std::move(row));
    }
  }
  return {table};
}

}  // namespace consul_canary::simulation
