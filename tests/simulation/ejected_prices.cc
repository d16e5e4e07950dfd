// What a shield costs: seconds and failures until a rollback, seconds until a proof, beside the
// same canary without one.
#include <fmt/format.h>

#include <string>
#include <utility>

#include "tests/simulation/ejected_judges.h"
#include "tests/simulation/experiments.h"

namespace consul_canary::simulation {
namespace {

// The same canary without a shield and with one; both are judged by the process that fits.
struct Price {
  std::string fails;
  double excess;
  double weight_percent;
  int instances;
  int failures_in_a_row;
  int short_runs = 0;
  double after_seconds = 0;
};

Table RollbacksUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_rollbacks",
              .title =
                  "Ejection: until a canary that fails is rolled back, without a shield and "
                  "with one (100 requests a second, primary 0.1%, α = .01, within an hour)",
              .label_names = {"canary fails", "weight", "canary instances", "failures in a row",
                              "from second"},
              .columns = {{"s, median, unshielded", Unit::kSeconds},
                          {"failed for callers", Unit::kRequests},
                          {"s, median, shielded", Unit::kSeconds},
                          {"s, mean", Unit::kSeconds},
                          {"absorbed", Unit::kRequests},
                          {"failed for callers, shielded", Unit::kRequests},
                          {"rolled back", Unit::kPercent}}};
  std::vector<Price> prices;
  for (const int in_a_row : {1, 2}) {
    for (const int instances : {1, 3}) {
      for (const auto& [fails, excess] :
           {std::pair{"all", .999}, {"50%", .499}, {"20%", .199}, {"5%", .049}, {"2%", .019}}) {
        prices.push_back(
            {fails, excess, 50, instances, in_a_row, excess > .1 && instances == 1 ? 100 : 0});
      }
    }
    for (const double weight : {1, 5, 10}) prices.push_back({"20%", .199, weight, 1, in_a_row});
    for (const int instances : {1, 3}) {
      prices.push_back({"all", .999, 50, instances, in_a_row, 50, 630.5});
      prices.push_back({"20%", .199, 50, instances, in_a_row, 0, 630.5});
    }
  }
  std::uint64_t seed = 950;
  for (const Price& price : prices) {
    ++seed;
    const int runs = effort.runs(price.short_runs, 400);
    if (runs == 0) continue;
    EjectedCase shielded = EjectedCaseOf("", 100, price.weight_percent, price.instances, .001);
    shielded.question.traffic.fault = {.after_seconds = price.after_seconds,
                                       .excess = price.excess};
    shielded.question.traffic.ejection->failures_in_a_row = price.failures_in_a_row;
    shielded.question.horizon_seconds = 3600;
    shielded.question.stops = Stops::kOnceSaid;
    EjectedCase bare = shielded;
    bare.question.traffic.ejection.reset();
    bare.question.stops = Stops::kOncePlainSaid;
    const auto without = Often(JudgeHarm, bare.question, runs, seed, effort);
    const auto with = Often(JudgeHarm, shielded.question, runs, seed, effort);
    const auto rolled_back = ShareAbove(with, &Judged::greatest, kEjectedAlpha);
    Row row{
        .labels = {price.fails, fmt::format("{:g}", price.weight_percent),
                   fmt::format("{}", price.instances), fmt::format("{}", price.failures_in_a_row),
                   fmt::format("{:g}", price.after_seconds)},
        .figures = {MedianOver(without, &Judged::plain_seconds),
                    MeanOver(without, &Judged::plain_failed), MedianOver(with, &Judged::seconds),
                    MeanOver(with, &Judged::seconds), MeanOver(with, &Judged::absorbed),
                    MeanOver(with, &Judged::failed), rolled_back}};
    if (price.excess > .1 && rolled_back.mean < 1) row.broken = "not rolled back";
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table ProofsUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_prices",
              .title =
                  "Ejection: seconds until a canary as good as the primary is proven, without "
                  "a shield and with one (100 requests a second, margin 0.01, β = .05; ejected at "
                  "the second failure in a row)",
              .label_names = {"both fail", "weight", "canary instances"},
              .columns = {{"s, median, unshielded", Unit::kSeconds},
                          {"s, median, shielded", Unit::kSeconds},
                          {"proven within 1 h", Unit::kPercent}}};
  std::uint64_t seed = 980;
  for (const double failure_ratio : {.0002, .001, .002, .01}) {
    for (const double weight : {5, 50}) {
      for (const int instances : {1, 3}) {
        ++seed;
        const bool shown = failure_ratio == .001 && weight == 50;
        const int runs = effort.runs(shown ? 50 : 0, 400);
        if (runs == 0) continue;
        EjectedCase shielded = EjectedCaseOf("", 100, weight, instances, failure_ratio);
        shielded.question.traffic.ejection->failures_in_a_row = 2;
        shielded.question.level = kEjectedBeta;
        shielded.question.horizon_seconds = 3600;
        shielded.question.stops = Stops::kOnceSaid;
        EjectedCase bare = shielded;
        bare.question.traffic.ejection.reset();
        bare.question.stops = Stops::kOncePlainSaid;
        const auto without = Often(JudgeSafe, bare.question, runs, seed, effort);
        const auto with = Often(JudgeSafe, shielded.question, runs, seed, effort);
        table.rows.push_back({.labels = {fmt::format("{:g}%", failure_ratio * 100),
                                         fmt::format("{:g}", weight), fmt::format("{}", instances)},
                              .figures = {MedianOver(without, &Judged::plain_seconds),
                                          MedianOver(with, &Judged::seconds),
                                          ShareAbove(with, &Judged::greatest, kEjectedBeta)}});
      }
    }
  }
  return table;
}

// With the default specification, decided by rollout::Decide.
Table ShieldedRollouts(const Effort& effort) {
  Table table{.id = "shielded_rollouts",
              .title =
                  "Ejection: whole rollouts behind a shield (steps 1, 5, 10, 25, 50, margin "
                  "0.01, α = .01, β = .05; ejected at the second failure in a row), 100 requests a "
                  "second, primary 0.1%, within 1 h",
              .label_names = {"canary fails", "canary instances"},
              .columns = {{"promoted", Unit::kPercent},
                          {"rolled back", Unit::kPercent},
                          {"canary's failed attempts", Unit::kRequests},
                          {"s", Unit::kSeconds}}};
  std::uint64_t seed = 1000;
  for (const double excess : {0.0, .015, .05, .2, .999}) {
    for (const int instances : {1, 3}) {
      ++seed;
      const int runs = effort.runs(instances == 1 && excess != .05 ? 20 : 0, 200);
      if (runs == 0) continue;
      Setting setting{.traffic = {.failure_ratio = .001,
                                  .canary_instances = instances,
                                  .ejection = Ejection{.failures_in_a_row = 2},
                                  .fault = {.excess = excess}}};
      setting.spec.service = "api";
      for (const double weight : {1, 5, 10, 25, 50}) {
        setting.spec.steps.push_back({.weight_percent = weight});
      }
      const auto outcomes = RunOften(setting, runs, seed, effort);
      const Figure promoted = ShareOver(outcomes, &Outcome::promoted);
      const Figure rolled_back = ShareOver(outcomes, &Outcome::rolled_back);
      Row row{.labels = {fmt::format("{:g}%", (.001 + excess) * 100), fmt::format("{}", instances)},
              .figures = {promoted, rolled_back, MeanOver(outcomes, &Outcome::failures),
                          MeanOver(outcomes, &Outcome::seconds)}};
      const bool is_good = excess == 0;
      if (is_good && !KeepsShare(rolled_back, kEjectedAlpha)) row.broken = "rolled back too often";
      if (!is_good && !KeepsShare(promoted, kEjectedBeta)) row.broken = "promoted too often";
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

}  // namespace

std::vector<Table> EjectionPrices(const Effort& effort) {
  return {RollbacksUnderEjection(effort), ProofsUnderEjection(effort), ShieldedRollouts(effort)};
}

}  // namespace consul_canary::simulation
