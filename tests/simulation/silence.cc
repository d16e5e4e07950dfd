#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

// A window of a minute declares a mismatch falsely with a chance of at most 2 in 1000.
constexpr double kFalseMismatchPerMinute = 0.002;

struct Hanging {
  double requests_per_second;
  double hang_ratio;
  int short_runs;
};

Table HangingCanaries(const Effort& effort) {
  Table table{
      .id = "hanging_canaries",
      .title =
          "Canaries that leave requests without an answer, and callers that give up after 15 s "
          "and are counted nowhere: seconds until they are rolled back (median of those "
          "answered 45 ms, weight 5, α = .01)",
      .label_names = {"requests a second", "without an answer"},
      .columns = {{"s", Unit::kSeconds}, {"rolled back within 15 min", Unit::kPercent}}};
  std::uint64_t seed = 600;
  for (const Hanging& hanging :
       {Hanging{10, 1, 0}, Hanging{10, .2, 0}, Hanging{100, 1, 50}, Hanging{100, .2, 50},
        Hanging{100, .05, 0}, Hanging{1000, 1, 0}, Hanging{1000, .2, 0}, Hanging{1000, .05, 0}}) {
    ++seed;
    const int runs = effort.runs(hanging.short_runs, 200);
    if (runs == 0) continue;
    Setting setting{.traffic = {.requests_per_second = hanging.requests_per_second,
                                .latency = Latency{},
                                .fault = {.hang_ratio = hanging.hang_ratio}},
                    .spec = KeptAt(5),
                    .horizon_seconds = 900};
    const std::vector<Outcome> outcomes = RunOften(setting, runs, seed, effort);
    const Figure found = ShareOver(outcomes, &Outcome::rolled_back);
    Row row{.labels = {fmt::format("{:g}", hanging.requests_per_second),
                       fmt::format("{:g}%", hanging.hang_ratio * 100)},
            .figures = {MeanOver(outcomes, &Outcome::seconds), found}};
    if (hanging.hang_ratio == 1 && found.mean < 1) row.broken = "not found";
    table.rows.push_back(std::move(row));
  }
  return table;
}

struct HangingBoth {
  double requests_per_second;
  double weight_percent;
  double seconds;
  int short_runs;
};

// What both subsets suffer together: a database that does not answer for a while.
Table HangingTogether(const Effort& effort) {
  constexpr double kPromised = 0.01;
  Table table{.id = "hanging_together",
              .title =
                  "Rolled back within 10 min while now and then nothing is answered, neither by "
                  "the primary nor by the canary (20 times an hour, median 45 ms, α = .01)",
              .label_names = {"requests a second", "weight", "for", "promised"},
              .columns = {{"rolled back", Unit::kPercent}}};
  std::uint64_t seed = 640;
  for (const HangingBoth& hanging :
       {HangingBoth{20, 5, 3, 50}, HangingBoth{20, 50, 3, 0}, HangingBoth{100, 5, 3, 50},
        HangingBoth{100, 50, 3, 50}, HangingBoth{1000, 5, 3, 0}, HangingBoth{20, 5, 10, 0},
        HangingBoth{100, 5, 10, 50}, HangingBoth{100, 50, 10, 0}}) {
    ++seed;
    const int runs = effort.runs(hanging.short_runs, 300);
    if (runs == 0) continue;
    Latency latency;
    latency.common_hangs_per_hour = 20;
    latency.common_hang_seconds = hanging.seconds;
    const Setting setting{
        .traffic = {.requests_per_second = hanging.requests_per_second, .latency = latency},
        .spec = KeptAt(hanging.weight_percent),
        .horizon_seconds = 600};
    const Figure share = ShareOver(RunOften(setting, runs, seed, effort), &Outcome::rolled_back);
    Row row{.labels = {fmt::format("{:g}", hanging.requests_per_second),
                       fmt::format("{:g}", hanging.weight_percent),
                       fmt::format("{:g} s", hanging.seconds), "1%"},
            .figures = {share}};
    if (!KeepsShare(share, kPromised)) row.broken = "rolled back too often";
    table.rows.push_back(std::move(row));
  }
  return table;
}

struct Share {
  double requests_per_second;
  double weight_percent;
  double factor;
  int short_runs;
};

Table ShareMismatches(const Effort& effort) {
  const int minutes = effort.is_long ? 60 : 10;
  Table table{.id = "share",
              .title = fmt::format("The canary's share of the requests against its weight: called "
                                   "untrusted within {} min, and after how many seconds",
                                   minutes),
              .label_names = {"requests a second", "weight", "share"},
              .columns = {{"untrusted", Unit::kPercent}, {"s", Unit::kSeconds}}};
  std::uint64_t seed = 620;
  for (const Share& share :
       {Share{10, 5, 1, 0}, Share{100, 5, 1, 50}, Share{1000, 5, 1, 0}, Share{100, 50, 1, 50},
        Share{10, 5, 2, 0}, Share{100, 5, 2, 50}, Share{1000, 5, 2, 0}, Share{100, 25, 1.5, 50},
        Share{1000, 25, 1.2, 0}, Share{100, 25, .5, 50}, Share{100, 5, 0, 50}}) {
    ++seed;
    const int runs = effort.runs(share.short_runs, 200);
    if (runs == 0) continue;
    const Setting setting{
        .traffic = {.requests_per_second = share.requests_per_second, .share_factor = share.factor},
        .spec = KeptAt(share.weight_percent),
        .horizon_seconds = 60 * minutes,
        .until = Until::kUntrusted};
    const std::vector<Outcome> outcomes = RunOften(setting, runs, seed, effort);
    const bool matches = share.factor == 1;
    const Figure untrusted = ShareOver(outcomes, &Outcome::untrusted);
    Row row{.labels = {fmt::format("{:g}", share.requests_per_second),
                       fmt::format("{:g}", share.weight_percent),
                       fmt::format("{:g}%", share.weight_percent * share.factor)},
            .figures = {untrusted}};
    row.figures.push_back(matches ? std::nullopt
                                  : std::optional(MeanOver(outcomes, &Outcome::seconds)));
    if (matches && !KeepsShare(untrusted, kFalseMismatchPerMinute * minutes)) {
      row.broken = "untrusted too often";
    }
    if (!matches && share.short_runs > 0 && untrusted.mean < 1) row.broken = "trusted";
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::vector<Table> Silence(const Effort& effort) {
  return {HangingCanaries(effort), HangingTogether(effort), ShareMismatches(effort)};
}

}  // namespace consul_canary::simulation
