#include <fmt/format.h>

#include <cmath>

#include "tests/simulation/experiments.h"
#include "tests/simulation/trials.h"

namespace consul_canary::simulation {
namespace {

constexpr double kPrimaryRate = 0.001;
constexpr double kWeight = 5;
constexpr double kAlpha = 0.05;  // of the prototype's figures
constexpr double kDefaultAlpha = 0.01;
constexpr double kRounding = 1.05;  // those figures have two digits
constexpr std::size_t kOurs = 2;    // entrants: ours at both alphas come first

// What a prototype reached at alpha .05. At 10 requests a second and 5% it had 60 s beside 3.0
// failures; by Wald's identity 3.0 failures take 3.0 / (10 * .05 * .05) = 120 s.
struct Cell {
  double requests_per_second;
  double canary_rate;
  double failures;  // 0: it had none
  double seconds;
  int short_runs;
};
constexpr Cell kCells[] = {
    {10, .01, 4.5, 909, 0},     {10, .05, 3.0, 120, 60},  {10, .5, 2.8, 11, 200},
    {10, 1, 0, 0, 200},         {100, .01, 3.9, 78, 100}, {100, .05, 2.6, 10, 200},
    {100, .5, 3.3, 1.4, 200},   {100, 1, 0, 0, 200},      {1000, .01, 4.2, 8.4, 200},
    {1000, .05, 3.8, 1.5, 200}, {1000, .5, 25, 1.0, 100}, {1000, 1, 0, 0, 100},
};

std::vector<Entrant> Entrants() {
  return {Ours(KeptAt(kWeight), kAlpha),
          Ours(KeptAt(kWeight), kDefaultAlpha),
          Flagger(60, 5),
          Flagger(10, 1),
          Kayenta(60, 600),
          Kayenta(5, 60)};
}

struct Raced {
  std::vector<std::vector<Outcome>> runs;  // of each entrant's outcomes

  // Of a field of Outcome.
  template <class Count>
  [[nodiscard]] Figure Mean(std::size_t entrant, const Count& count) const {
    return MeanOver(runs, [&](const auto& outcomes) { return outcomes[entrant].*count; });
  }
  [[nodiscard]] Figure RolledBack(std::size_t entrant) const {
    return ShareOver(runs, [&](const auto& outcomes) { return outcomes[entrant].rolled_back; });
  }
};

Raced RaceOften(const Traffic& traffic, int runs, std::uint64_t seed, const Effort& effort) {
  const std::vector<Entrant> entrants = Entrants();
  return {Repeat(runs, effort.threads, [&](int run) {
    return Race(traffic, kWeight, kAtLength, entrants, seed, static_cast<std::uint64_t>(run));
  })};
}

// Requests of the canary over the two-sample bound, which is never less than one tick's.
Figure OverBound(const Cell& cell, const Figure& requests, double alpha) {
  const double least = LeastRequests(kPrimaryRate, cell.canary_rate, kWeight / 100, alpha);
  const double tick = cell.requests_per_second * kWeight / 100;
  const double bound = std::max(least, tick);
  return {requests.mean / bound, requests.standard_error / bound, requests.runs};
}

std::vector<std::string> LabelsOf(const Cell& cell) {
  return {fmt::format("{:g}", cell.requests_per_second),
          fmt::format("{:g}%", cell.canary_rate * 100)};
}

Row OurRow(const Cell& cell, const Raced& raced) {
  Row row{.labels = LabelsOf(cell)};
  row.labels.push_back(cell.failures > 0 ? fmt::format("{:g} / {:g}", cell.failures, cell.seconds)
                                         : "");
  for (std::size_t i = 0; i < kOurs; ++i) {
    row.figures.emplace_back(raced.Mean(i, &Outcome::failures));
    row.figures.emplace_back(raced.Mean(i, &Outcome::seconds));
    row.figures.emplace_back(
        OverBound(cell, raced.Mean(i, &Outcome::requests), i == 0 ? kAlpha : kDefaultAlpha));
  }
  if (cell.failures <= 0) return row;
  if (!KeepsMean(*row.figures[0], cell.failures * kRounding)) row.broken = "more failures";
  if (!KeepsMean(*row.figures[1], cell.seconds * kRounding)) row.broken = "later";
  return row;
}

template <class Count>
Row PeersRow(const Cell& cell, const Raced& raced, const Count& count) {
  Row row{.labels = LabelsOf(cell)};
  for (std::size_t i = kOurs - 1; i < Entrants().size(); ++i) {
    row.figures.emplace_back(raced.Mean(i, count));
  }
  return row;
}

Table OurTable() {
  Table table{.id = "rollbacks",
              .title =
                  "Failed requests of the canary and seconds until it is rolled back: primary "
                  "0.1%, weight 5; × bound: its requests over Wald's two-sample bound",
              .label_names = {"requests a second", "canary fails", "prototype, α = .05"}};
  for (const char* alpha : {"α = .05", "α = .01"}) {
    table.columns.push_back({fmt::format("failed, {}", alpha), Unit::kRequests});
    table.columns.push_back({fmt::format("s, {}", alpha), Unit::kSeconds});
    table.columns.push_back({fmt::format("× bound, {}", alpha), Unit::kFactor});
  }
  return table;
}

Table PeersTable(const std::string& id, const std::string& title, Unit unit) {
  Table table{.id = id, .title = title, .label_names = {"requests a second", "canary fails"}};
  const std::vector<Entrant> entrants = Entrants();
  for (std::size_t i = kOurs - 1; i < entrants.size(); ++i) {
    table.columns.push_back({entrants[i].name, unit});
  }
  return table;
}

Table HealthyTable(const Effort& effort) {
  Table table{.id = "peers_healthy",
              .title =
                  "Rolled back within an hour by the same judges: canaries as good as the "
                  "primary, weight 5",
              .label_names = {"requests a second", "both fail"}};
  const std::vector<Entrant> entrants = Entrants();
  for (const Entrant& entrant : entrants) table.columns.push_back({entrant.name, Unit::kPercent});
  std::uint64_t seed = 250;
  for (const double failure_ratio : {.001, .01}) {
    for (const double rate : {10, 100, 1000}) {
      const Traffic traffic{.requests_per_second = rate, .failure_ratio = failure_ratio};
      const Raced raced = RaceOften(traffic, effort.runs(0, 200), ++seed, effort);
      Row row{.labels = {fmt::format("{:g}", rate), fmt::format("{:g}%", failure_ratio * 100)}};
      for (std::size_t i = 0; i < entrants.size(); ++i) {
        row.figures.emplace_back(raced.RolledBack(i));
      }
      table.rows.push_back(std::move(row));
    }
  }
  return table;
}

}  // namespace

std::vector<Table> Rollbacks(const Effort& effort) {
  Table ours = OurTable();
  Table peers_failures =
      PeersTable("peers_failures",
                 "The same seconds of traffic under other judges: failed requests of the canary",
                 Unit::kRequests);
  Table peers_seconds = PeersTable(
      "peers_seconds", "The same: seconds; who has not rolled back after an hour counts with it",
      Unit::kSeconds);
  std::uint64_t seed = 200;
  for (const Cell& cell : kCells) {
    ++seed;
    const int runs = effort.runs(cell.short_runs, 400);
    if (runs == 0) continue;
    const Traffic traffic{.requests_per_second = cell.requests_per_second,
                          .failure_ratio = kPrimaryRate,
                          .fault = {.excess = cell.canary_rate - kPrimaryRate}};
    const Raced raced = RaceOften(traffic, runs, seed, effort);
    ours.rows.push_back(OurRow(cell, raced));
    peers_failures.rows.push_back(PeersRow(cell, raced, &Outcome::failures));
    peers_seconds.rows.push_back(PeersRow(cell, raced, &Outcome::seconds));
  }
  std::vector<Table> tables = {std::move(ours), std::move(peers_failures),
                               std::move(peers_seconds)};
  if (effort.is_long) tables.push_back(HealthyTable(effort));
  return tables;
}

}  // namespace consul_canary::simulation
