// The judges where failures eject the canary: the processes of stats/ejected_harm.h and
// ejected_safe.h beside those of harm.h and safe.h, which are unfair there.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analyzer/stats/ejected_harm.h"
#include "analyzer/stats/ejected_safe.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/safe.h"
#include "tests/simulation/ejected_stream.h"
#include "tests/simulation/experiments.h"

namespace consul_canary::simulation {
namespace {

constexpr double kAlpha = 0.01;
constexpr double kOtherAlpha = 0.05;
constexpr double kBeta = 0.05;
constexpr stats::Margin kMargin{1.0, 0.01};
constexpr stats::HarmPlan kPlan{.planned_epochs = 60};

enum class Told { kAll, kInstances, kOne };  // what a process is told of what can be ejected

enum class Stops { kAtHorizon, kOncePlainSaid, kOnceSaid };  // what ends a run

struct Judged {
  double greatest_plain = 0;  // of ln M, at any time
  double greatest = 0;
  // Until each of the two said so at its level, or the horizon.
  int plain_seconds = 0, seconds = 0;
  std::int64_t plain_failed = 0, failed = 0;  // for callers, until then
  std::int64_t absorbed = 0;                  // until the second one said so
};

struct Question {
  Traffic traffic;
  double weight_ratio = .5;
  int horizon_seconds = 600;
  double level = kAlpha;
  Stops stops = Stops::kAtHorizon;
  Told told = Told::kAll;
};

std::int64_t Reported(const Question& question, const EjectedSecond& second) {
  const int callers = question.traffic.ejection.value_or(Ejection{}).callers;
  if (question.told == Told::kOne) return 1;
  const std::int64_t active = second.tick.active_instances;
  return question.told == Told::kInstances ? active / callers : active;
}

// plain(tick), fair(tick): observe and give ln M.
template <class Plain, class Fair>
Judged Judge(const Question& question, EjectedStream& stream, const Plain& plain,
             const Fair& fair) {
  const double enough = -std::log(question.level);
  Judged judged;
  bool plain_said = false, said = false;
  for (int second = 1; second <= question.horizon_seconds; ++second) {
    EjectedSecond now = stream.Next(question.weight_ratio);
    now.tick.active_instances = Reported(question, now);
    if (!said) judged.absorbed += now.absorbed;
    if (!plain_said) judged.plain_failed += now.failed;
    if (!said) judged.failed += now.failed;
    judged.greatest_plain = std::max(judged.greatest_plain, plain(now.tick));
    judged.greatest = std::max(judged.greatest, fair(now.tick));
    if (!plain_said) judged.plain_seconds = second;
    if (!said) judged.seconds = second;
    plain_said = judged.greatest_plain >= enough;
    said = judged.greatest >= enough;
    if (question.stops == Stops::kOncePlainSaid && plain_said) break;
    if (question.stops == Stops::kOnceSaid && said) break;
  }
  return judged;
}

Judged JudgeHarm(const Question& question, std::uint64_t seed, std::uint64_t run) {
  EjectedStream stream(question.traffic, RandomOf(seed, run));
  stats::HarmState plain = stats::StartHarm(stream.history());
  stats::EjectedHarmState fair = stats::StartEjectedHarm(stream.history());
  return Judge(
      question, stream,
      [&](const stats::EjectionTick& tick) {
        stats::ObserveHarm(plain, kPlan, tick.primary, tick.canary, 1, 1);
        return stats::LogHarm(plain);
      },
      [&](const stats::EjectionTick& tick) {
        stats::ObserveEjectedHarm(fair, kPlan, tick, 1, 1);
        return stats::LogEjectedHarm(fair);
      });
}

Judged JudgeSafe(const Question& question, std::uint64_t seed, std::uint64_t run) {
  EjectedStream stream(question.traffic, RandomOf(seed, run));
  stats::SafeState plain = stats::StartSafe(stream.history());
  stats::EjectedSafeState fair = stats::StartEjectedSafe(stream.history());
  return Judge(
      question, stream,
      [&](const stats::EjectionTick& tick) {
        stats::ObserveSafe(plain, kMargin, tick.primary, tick.canary, 1);
        return stats::LogSafe(plain);
      },
      [&](const stats::EjectionTick& tick) {
        stats::ObserveEjectedSafe(fair, kMargin, tick, 1);
        return stats::LogEjectedSafe(fair);
      });
}

std::vector<Judged> Often(Judged (*judge)(const Question&, std::uint64_t, std::uint64_t),
                          const Question& question, int runs, std::uint64_t seed,
                          const Effort& effort) {
  return Repeat(runs, effort.threads,
                [&](int run) { return judge(question, seed, static_cast<std::uint64_t>(run)); });
}

Figure ShareAbove(const std::vector<Judged>& all, double Judged::*greatest, double level) {
  return ShareOver(all, [&](const Judged& one) { return one.*greatest >= -std::log(level); });
}

struct Case {
  std::string name;
  Question question;
  int short_runs = 0;  // 0: only in the long form
};

Case CaseOf(const std::string& name, double rate, double weight_percent, int instances,
            double failure_ratio, int short_runs = 0) {
  Case one{.name = name, .short_runs = short_runs};
  one.question.traffic.requests_per_second = rate;
  one.question.traffic.failure_ratio = failure_ratio;
  one.question.traffic.canary_instances = instances;
  one.question.traffic.ejection = Ejection{};
  one.question.weight_ratio = weight_percent / 100;
  return one;
}

void AddSteady(std::vector<Case>& cases) {
  for (const double rate : {10, 100, 1000}) {
    for (const double weight : {1, 10, 50}) {
      for (const int instances : {1, 4}) {
        const bool shown = rate == 100 && weight == 50;
        cases.push_back(CaseOf("steady", rate, weight, instances, .01, shown ? 100 : 0));
      }
    }
  }
  for (const int instances : {1, 2, 3}) {
    cases.push_back(CaseOf("steady", 100, 50, instances, .001));
    cases.push_back(CaseOf("steady", 100, 50, instances, .05, instances == 2 ? 100 : 0));
  }
  cases.push_back(CaseOf("both fail half of the requests", 200, 50, 1, .5, 100));
  cases.push_back(CaseOf("both fail half of the requests", 200, 50, 3, .5));
}

void AddBursts(std::vector<Case>& cases) {
  for (const double seconds : {.1, .4, 1.0, 3.0}) {
    for (const double rate : {10, 100, 1000}) {
      for (const int instances : {1, 4}) {
        Case one = CaseOf(fmt::format("common bursts of {:g} s", seconds), rate, 50, instances,
                          .002, rate == 100 && instances == 1 && seconds < 1 ? 100 : 0);
        one.question.traffic.common_burst = 50;
        one.question.traffic.common_burst_seconds = seconds;
        cases.push_back(one);
      }
    }
    Case one = CaseOf(fmt::format("common bursts of {:g} s", seconds), 100, 10, 1, .002);
    one.question.traffic.common_burst = 50;
    one.question.traffic.common_burst_seconds = seconds;
    cases.push_back(one);
  }
}

void AddUnexpected(std::vector<Case>& cases) {
  for (const double factor : {.5, 1.6}) {
    for (const int instances : {1, 4}) {
      Case one = CaseOf(fmt::format("{:g} times the share that was told", factor), 100, 50,
                        instances, .01, factor > 1 && instances == 1 ? 100 : 0);
      one.question.traffic.share_factor = factor;
      cases.push_back(one);
    }
  }
  for (const Told told : {Told::kAll, Told::kInstances, Told::kOne}) {
    const char* names[] = {"told of all", "told of instances", "told of one"};
    Case one = CaseOf(fmt::format("4 callers that each eject, {}", names[static_cast<int>(told)]),
                      100, 50, 3, .01);
    one.question.traffic.ejection->callers = 4;
    one.question.told = told;
    cases.push_back(one);
  }
  Case slow = CaseOf("ejected only after .3 s", 100, 50, 1, .01, 100);
  slow.question.traffic.ejection->lag_seconds = .3;
  cases.push_back(slow);
  Case unretried = CaseOf("nothing retried", 100, 50, 1, .01);
  unretried.question.traffic.ejection->retried = false;
  cases.push_back(unretried);
  Case short_lived = CaseOf("ejected for .5 s", 100, 50, 2, .01);
  short_lived.question.traffic.ejection->base_seconds = .5;
  cases.push_back(short_lived);
}

std::vector<std::string> LabelsOf(const Case& one) {
  const Traffic& traffic = one.question.traffic;
  return {one.name, fmt::format("{:g}", traffic.requests_per_second),
          fmt::format("{:g}", one.question.weight_ratio * 100),
          fmt::format("{}", traffic.canary_instances),
          fmt::format("{:g}%", traffic.failure_ratio * 100)};
}

std::vector<std::string> LabelNames() {
  return {"traffic", "requests a second", "weight", "canary instances", "both fail"};
}

Table FalseRollbacksUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_false_rollbacks",
              .title = fmt::format(
                  "Ejection: rolled back within {} min though as good as the primary (first "
                  "failure ejects an instance for 3 s and more); plain: the process of harm "
                  "without ejection, where it is unfair and never used. Promised: 1% and 5%",
                  effort.is_long ? 20 : 10),
              .label_names = LabelNames(),
              .columns = {{"plain, α = .01", Unit::kPercent},
                          {"plain, α = .05", Unit::kPercent},
                          {"α = .01", Unit::kPercent},
                          {"α = .05", Unit::kPercent}}};
  std::vector<Case> cases;
  AddSteady(cases);
  AddBursts(cases);
  AddUnexpected(cases);
  std::uint64_t seed = 800;
  for (Case& one : cases) {
    ++seed;
    const int runs = effort.runs(one.short_runs, 500);
    if (runs == 0) continue;
    one.question.horizon_seconds = effort.is_long ? 1200 : 600;
    const auto judged = Often(JudgeHarm, one.question, runs, seed, effort);
    Row row{.labels = LabelsOf(one),
            .figures = {ShareAbove(judged, &Judged::greatest_plain, kAlpha),
                        ShareAbove(judged, &Judged::greatest_plain, kOtherAlpha),
                        ShareAbove(judged, &Judged::greatest, kAlpha),
                        ShareAbove(judged, &Judged::greatest, kOtherAlpha)}};
    if (!KeepsShare(*row.figures[2], kAlpha) || !KeepsShare(*row.figures[3], kOtherAlpha)) {
      row.broken = "rolled back too often";
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table FalseAdvancesUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_false_advances",
              .title = fmt::format(
                  "Ejection: proven within {} min though worse by exactly the margin (0.01, β = "
                  ".05); plain: the process of safety without ejection. Promised: 5%",
                  effort.is_long ? 10 : 5),
              .label_names = LabelNames(),
              .columns = {{"plain", Unit::kPercent}, {"advanced", Unit::kPercent}}};
  std::vector<Case> cases;
  for (const double weight : {10, 50}) {
    for (const int instances : {1, 4}) {
      cases.push_back(CaseOf("steady", 100, weight, instances, .002));
      for (const double seconds : {.1, .3, 1.0}) {
        Case one = CaseOf(fmt::format("common bursts of {:g} s", seconds), 100, weight, instances,
                          .01, weight == 50 && instances == 1 && seconds == .3 ? 100 : 0);
        one.question.traffic.common_burst = 50;
        one.question.traffic.common_burst_seconds = seconds;
        cases.push_back(one);
      }
    }
  }
  for (const double rate : {10, 1000}) {
    Case one = CaseOf("common bursts of 0.3 s", rate, 50, 1, .01);
    one.question.traffic.common_burst = 50;
    one.question.traffic.common_burst_seconds = .3;
    cases.push_back(one);
  }
  std::uint64_t seed = 900;
  for (Case& one : cases) {
    ++seed;
    const int runs = effort.runs(one.short_runs, 500);
    if (runs == 0) continue;
    one.question.traffic.fault.excess = kMargin.absolute;
    one.question.horizon_seconds = effort.is_long ? 600 : 300;
    const auto judged = Often(JudgeSafe, one.question, runs, seed, effort);
    Row row{.labels = LabelsOf(one),
            .figures = {ShareAbove(judged, &Judged::greatest_plain, kBeta),
                        ShareAbove(judged, &Judged::greatest, kBeta)}};
    if (!KeepsShare(*row.figures[1], kBeta)) row.broken = "advanced too often";
    table.rows.push_back(std::move(row));
  }
  return table;
}

// The same canary without a shield and with one; both are judged by the process that fits.
struct Price {
  std::string fails;
  double excess;
  double weight_percent;
  int instances;
  int short_runs = 0;
};

Table RollbacksUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_rollbacks",
              .title =
                  "Ejection: until a canary that fails is rolled back, without a shield and "
                  "with one (100 requests a second, primary 0.1%, α = .01, within an hour)",
              .label_names = {"canary fails", "weight", "canary instances"},
              .columns = {{"s, median, unshielded", Unit::kSeconds},
                          {"failed for callers", Unit::kRequests},
                          {"s, median, shielded", Unit::kSeconds},
                          {"s, mean", Unit::kSeconds},
                          {"absorbed", Unit::kRequests},
                          {"failed for callers, shielded", Unit::kRequests},
                          {"rolled back", Unit::kPercent}}};
  std::vector<Price> prices;
  for (const int instances : {1, 3}) {
    for (const auto& [fails, excess] :
         {std::pair{"all", .999}, {"50%", .499}, {"20%", .199}, {"5%", .049}, {"2%", .019}}) {
      prices.push_back({fails, excess, 50, instances, excess > .1 && instances == 1 ? 100 : 0});
    }
  }
  for (const double weight : {1, 5, 10}) prices.push_back({"20%", .199, weight, 1});
  std::uint64_t seed = 950;
  for (const Price& price : prices) {
    ++seed;
    const int runs = effort.runs(price.short_runs, 400);
    if (runs == 0) continue;
    Case shielded = CaseOf("", 100, price.weight_percent, price.instances, .001);
    shielded.question.traffic.fault.excess = price.excess;
    shielded.question.horizon_seconds = 3600;
    shielded.question.stops = Stops::kOnceSaid;
    Case bare = shielded;
    bare.question.traffic.ejection.reset();
    bare.question.stops = Stops::kOncePlainSaid;
    const auto without = Often(JudgeHarm, bare.question, runs, seed, effort);
    const auto with = Often(JudgeHarm, shielded.question, runs, seed, effort);
    const auto rolled_back = ShareAbove(with, &Judged::greatest, kAlpha);
    Row row{
        .labels = {price.fails, fmt::format("{:g}", price.weight_percent),
                   fmt::format("{}", price.instances)},
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
                  "a shield and with one (100 requests a second, margin 0.01, β = .05)",
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
        Case shielded = CaseOf("", 100, weight, instances, failure_ratio);
        shielded.question.level = kBeta;
        shielded.question.horizon_seconds = 3600;
        shielded.question.stops = Stops::kOnceSaid;
        Case bare = shielded;
        bare.question.traffic.ejection.reset();
        bare.question.stops = Stops::kOncePlainSaid;
        const auto without = Often(JudgeSafe, bare.question, runs, seed, effort);
        const auto with = Often(JudgeSafe, shielded.question, runs, seed, effort);
        table.rows.push_back({.labels = {fmt::format("{:g}%", failure_ratio * 100),
                                         fmt::format("{:g}", weight), fmt::format("{}", instances)},
                              .figures = {MedianOver(without, &Judged::plain_seconds),
                                          MedianOver(with, &Judged::seconds),
                                          ShareAbove(with, &Judged::greatest, kBeta)}});
      }
    }
  }
  return table;
}

}  // namespace

std::vector<Table> Ejections(const Effort& effort) {
  return {FalseRollbacksUnderEjection(effort), FalseAdvancesUnderEjection(effort),
          RollbacksUnderEjection(effort), ProofsUnderEjection(effort)};
}

}  // namespace consul_canary::simulation
