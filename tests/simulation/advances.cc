#include <fmt/format.h>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kPrimaryRate = 0.002;
constexpr double kBeta = 0.05;
// So small that a canary at the margin stays to be advanced: the two errors are promised apart.
constexpr double kHardlyEver = 1e-12;

Setting UntilSafe(double requests_per_second, double weight_percent, double margin) {
  Setting setting{
      .traffic = {.requests_per_second = requests_per_second, .failure_ratio = kPrimaryRate},
      .spec = KeptAt(weight_percent),
      .until = Until::kSafe};
  setting.spec.failure_margin = {1.0, margin};
  setting.spec.false_rollback = kHardlyEver;
  return setting;
}

struct AtMargin {
  std::string traffic;
  Setting setting;
  int short_runs;
};

std::vector<AtMargin> SettingsAtMargin() {
  std::vector<AtMargin> all;
  const auto add = [&all](const std::string& name, double rate, double weight, int short_runs) {
    all.push_back({name, UntilSafe(rate, weight, .01), short_runs});
    all.back().setting.traffic.fault.excess = .01;
    return &all.back().setting.traffic;
  };
  for (const double rate : {10, 100, 1000}) {
    for (const double weight : {5, 25, 50}) {
      add(fmt::format("{:g} a second", rate), rate, weight, rate == 100 && weight != 5 ? 100 : 0);
    }
  }
  add("100 a second, bursty arrivals", 100, 25, 0)->bursty_arrivals = true;
  add("100 a second, common outages", 100, 25, 100)->common_burst = 50;
  add("100 a second, pod bursts", 100, 25, 0)->pod_bursts.per_hour = 6;
  for (AtMargin& one : all) one.setting.traffic.canary_instances = 5;
  return all;
}

Table FalseAdvances(const Effort& effort) {
  Table table{.id = "false_advances",
              .title = fmt::format("Advanced within {} min: canaries worse by exactly the margin "
                                   "(primary 0.2%, margin 0.01, β = .05)",
                                   effort.is_long ? 10 : 5),
              .label_names = {"traffic", "weight", "promised"},
              .columns = {{"advanced", Unit::kPercent}}};
  std::uint64_t seed = 400;
  for (AtMargin& one : SettingsAtMargin()) {
    ++seed;
    const int runs = effort.runs(one.short_runs, 1000);
    if (runs == 0) continue;
    one.setting.horizon_seconds = effort.is_long ? 600 : 300;
    const std::vector<Outcome> outcomes = RunOften(one.setting, runs, seed, effort);
    const Figure share = ShareOver(outcomes, &Outcome::safe);
    Row row{.labels = {one.traffic,
                       fmt::format("{:g}", one.setting.spec.steps.front().weight_percent), "5%"},
            .figures = {share}};
    if (!KeepsShare(share, kBeta)) row.broken = "advanced too often";
    table.rows.push_back(std::move(row));
  }
  return table;
}

// A canary that leaves 2% without an answer until the route's timeout, where 1% more than the
// primary's is the margin: its successes end long before its failures.
Table SlowFailures(const Effort& effort) {
  Table table{.id = "slow_failures",
              .title =
                  "Left the first step of 5, 25, 50: canaries of which 2% of the requests fail "
                  "at the route's timeout of 15 s (primary 0.1%, margin 0.01, β = .05)",
              .label_names = {"requests a second", "promised"},
              .columns = {{"advanced", Unit::kPercent}, {"rolled back", Unit::kPercent}}};
  std::uint64_t seed = 480;
  for (const auto& [rate, short_runs] : {std::pair{100.0, 0}, std::pair{1000.0, 20}}) {
    ++seed;
    const int runs = effort.runs(short_runs, 200);
    if (runs == 0) continue;
    Setting setting{.traffic = {.requests_per_second = rate,
                                .request_timeout_seconds = 15,
                                .latency = Latency{},
                                .fault = {.timeout_ratio = .02}},
                    .horizon_seconds = 900,
                    .until = Until::kSafe};
    setting.spec.service = "api";
    setting.spec.steps = {{.weight_percent = 5}, {.weight_percent = 25}, {.weight_percent = 50}};
    const std::vector<Outcome> outcomes = RunOften(setting, runs, seed, effort);
    const Figure share = ShareOver(outcomes, &Outcome::safe);
    Row row{.labels = {fmt::format("{:g}", rate), "5%"},
            .figures = {share, ShareOver(outcomes, &Outcome::rolled_back)}};
    if (!KeepsShare(share, kBeta)) row.broken = "advanced too often";
    table.rows.push_back(std::move(row));
  }
  return table;
}

struct Price {
  double weight_percent;
  double margin;
  double most_requests;  // the mean's promise
  int short_runs;
};

Table Prices(const Effort& effort) {
  Table table{.id = "prices",
              .title =
                  "Requests and seconds until a canary as good as the primary (0.2%) is proven: "
                  "100 requests a second, β = .05",
              .label_names = {"weight", "margin"},
              .columns = {{"canary's requests", Unit::kRequests},
                          {"s", Unit::kSeconds},
                          {"s, median", Unit::kSeconds},
                          {"proven within 2 h", Unit::kPercent}}};
  std::uint64_t seed = 450;
  for (const Price& price :
       {Price{1, .01, 650, 0}, Price{5, .01, 650, 0}, Price{10, .01, 650, 100},
        Price{25, .01, 650, 100}, Price{50, .01, 650, 100}, Price{10, .005, 1600, 0},
        Price{10, .02, 270, 100}, Price{10, .04, 130, 0}}) {
    ++seed;
    const int runs = effort.runs(price.short_runs, 1000);
    if (runs == 0) continue;
    Setting setting = UntilSafe(100, price.weight_percent, price.margin);
    setting.horizon_seconds = 7200;
    const std::vector<Outcome> outcomes = RunOften(setting, runs, seed, effort);
    const Figure requests = MeanOver(outcomes, &Outcome::requests);
    const Figure proven = ShareOver(outcomes, &Outcome::safe);
    Row row{
        .labels = {fmt::format("{:g}", price.weight_percent), fmt::format("{:g}", price.margin)},
        .figures = {requests, MeanOver(outcomes, &Outcome::seconds),
                    MedianOver(outcomes, &Outcome::seconds), proven}};
    if (!KeepsMean(requests, price.most_requests)) row.broken = "costs too many requests";
    if (proven.mean < 1) row.broken = "not proven";
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::vector<Table> Advances(const Effort& effort) {
  return {FalseAdvances(effort), SlowFailures(effort), Prices(effort)};
}

}  // namespace consul_canary::simulation
