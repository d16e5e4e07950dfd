#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kAlpha = 0.01;
constexpr int kWatchSeconds = 600;
constexpr int kFaultAfterSeconds = 600;

struct Case {
  double failure_ratio;
  double excess;  // from some time within the watch on
  int short_runs;
  Drift drift = Drift::kNone;  // of both, which the watch has no means to know
};

// One step of half an hour at most, then the watch. Its seconds begin with the warm-up over.
rollout::Spec WatchedSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 50, .min_duration = rollout::Seconds(500)}};
  spec.after_promotion = rollout::Seconds(kWatchSeconds);
  return spec;
}

Row Measure(const Case& c, std::uint64_t seed, const Effort& effort) {
  Setting setting{.traffic = {.failure_ratio = c.failure_ratio, .drift = c.drift},
                  .spec = WatchedSpec(),
                  .horizon_seconds = 4 * 3600};
  if (c.excess > 0)
    setting.traffic.fault = {.after_seconds = kFaultAfterSeconds, .excess = c.excess};
  const std::vector<Outcome> outcomes =
      RunOften(setting, effort.runs(c.short_runs, 1000), seed, effort);
  std::vector<Outcome> rolled_back;
  for (const Outcome& outcome : outcomes) {
    if (outcome.rolled_back) rolled_back.push_back(outcome);
  }
  const Figure share = ShareOver(outcomes, &Outcome::rolled_back);
  const bool drifts = c.drift != Drift::kNone;
  std::string canary = drifts ? "the same, both drift" : "the same";
  if (c.excess > 0) canary = fmt::format("{:g}%", (c.failure_ratio + c.excess) * 100);
  Row row{.labels = {fmt::format("{:g}%", c.failure_ratio * 100), std::move(canary)},
          .figures = {share, std::nullopt, std::nullopt}};
  if (c.excess > 0 && !rolled_back.empty()) {
    row.figures[1] = MeanOver(rolled_back, &Outcome::failures);
    row.figures[2] = MeanOver(rolled_back, &Outcome::seconds);
  }
  if (c.excess == 0 && !drifts && !KeepsShare(share, kAlpha)) row.broken = "rolled back too often";
  return row;
}

}  // namespace

std::vector<Table> Watches(const Effort& effort) {
  Table table{
      .id = "watch",
      .title = fmt::format(
          "Watched for {} s after promotion: 100 requests a second, margin 0.01, α = .01",
          kWatchSeconds),
      .label_names = {"primary fails", "canary fails in the watch"},
      .columns = {
          {"rolled back", Unit::kPercent}, {"failed", Unit::kRequests}, {"s", Unit::kSeconds}}};
  std::uint64_t seed = 800;
  for (const Case& c : {Case{.001, 0, 20}, Case{.01, 0, 0}, Case{.05, 0, 0}, Case{.001, .02, 20},
                        Case{.001, .05, 0}, Case{.001, .5, 0}, Case{.05, .05, 0},
                        Case{.001, 0, 0, Drift::kSine}, Case{.05, 0, 0, Drift::kSine}}) {
    ++seed;
    if (effort.is_long || c.short_runs > 0) table.rows.push_back(Measure(c, seed, effort));
  }
  return {table};
}

}  // namespace consul_canary::simulation
