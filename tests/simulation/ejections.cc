// The judges where failures eject the canary: the processes of stats/ejected_harm.h and
// ejected_safe.h beside those of harm.h and safe.h, which are unfair there.
#include <fmt/format.h>

#include "tests/simulation/ejected_judges.h"
#include "tests/simulation/experiments.h"

namespace consul_canary::simulation {
namespace {

constexpr double kOtherAlpha = 0.05;
constexpr double kOutage = 1000;  // times .1% is all
constexpr stats::Margin kEjectedMargin{1.0, 0.01};
constexpr stats::HarmPlan kPlan{.planned_epochs = 60};

void AddSteady(std::vector<EjectedCase>& cases) {
  for (const double rate : {10, 100, 1000}) {
    for (const double weight : {1, 10, 50}) {
      for (const int instances : {1, 4}) {
        const bool shown = rate == 100 && weight == 50;
        cases.push_back(EjectedCaseOf("steady", rate, weight, instances, .01, shown ? 100 : 0));
      }
    }
  }
  for (const int instances : {1, 2, 3}) {
    cases.push_back(EjectedCaseOf("steady", 100, 50, instances, .001));
    cases.push_back(EjectedCaseOf("steady", 100, 50, instances, .05, instances == 2 ? 100 : 0));
  }
  cases.push_back(EjectedCaseOf("both fail half of the requests", 200, 50, 1, .5, 100));
  cases.push_back(EjectedCaseOf("both fail half of the requests", 200, 50, 3, .5));
}

void AddBursts(std::vector<EjectedCase>& cases) {
  for (const double seconds : {.1, .4, 1.0, 3.0}) {
    for (const double rate : {10, 100, 1000}) {
      for (const int instances : {1, 4}) {
        EjectedCase one =
            EjectedCaseOf(fmt::format("common bursts of {:g} s", seconds), rate, 50, instances,
                          .002, rate == 100 && instances == 1 && seconds < 1 ? 100 : 0);
        one.question.traffic.common_burst = 50;
        one.question.traffic.common_burst_seconds = seconds;
        cases.push_back(one);
      }
    }
    EjectedCase one =
        EjectedCaseOf(fmt::format("common bursts of {:g} s", seconds), 100, 10, 1, .002);
    one.question.traffic.common_burst = 50;
    one.question.traffic.common_burst_seconds = seconds;
    cases.push_back(one);
  }
  for (const double seconds : {.1, .5}) {
    for (const int instances : {1, 4}) {
      EjectedCase one =
          EjectedCaseOf(fmt::format("common outages of {:g} s", seconds), 100, 50, instances, .001);
      one.question.traffic.common_burst = kOutage;
      one.question.traffic.common_burst_seconds = seconds;
      cases.push_back(one);
    }
  }
}

void AddUnexpected(std::vector<EjectedCase>& cases) {
  for (const double factor : {.5, 1.6}) {
    for (const int instances : {1, 4}) {
      EjectedCase one =
          EjectedCaseOf(fmt::format("{:g} times the share that was told", factor), 100, 50,
                        instances, .01, factor > 1 && instances == 1 ? 100 : 0);
      one.question.traffic.share_factor = factor;
      cases.push_back(one);
    }
  }
  for (const Told told : {Told::kAll, Told::kInstances, Told::kOne}) {
    const char* names[] = {"told of all", "told of instances", "told of one"};
    EjectedCase one =
        EjectedCaseOf(fmt::format("4 callers that each eject, {}", names[static_cast<int>(told)]),
                      100, 50, 3, .01);
    one.question.traffic.ejection->callers = 4;
    one.question.told = told;
    cases.push_back(one);
  }
  EjectedCase slow = EjectedCaseOf("ejected only after .3 s", 100, 50, 1, .01, 100);
  slow.question.traffic.ejection->lag_seconds = .3;
  cases.push_back(slow);
  EjectedCase unretried = EjectedCaseOf("nothing retried", 100, 50, 1, .01);
  unretried.question.traffic.ejection->retried = false;
  cases.push_back(unretried);
  for (const int instances : {1, 4}) {
    for (const double failure_ratio : {.001, .01, .1}) {
      EjectedCase hopeless = EjectedCaseOf("what fails fails at each try", 100, 50, instances,
                                           failure_ratio, instances == 4 ? 100 : 0);
      hopeless.question.traffic.ejection->hopeless = 1;
      cases.push_back(hopeless);
      hopeless.name += ", told early";
      hopeless.question.traffic.ejection->told_early = true;
      cases.push_back(hopeless);
    }
  }
  EjectedCase short_lived = EjectedCaseOf("ejected for .5 s", 100, 50, 2, .01);
  short_lived.question.traffic.ejection->base_seconds = .5;
  cases.push_back(short_lived);
}

// As consul-canaryctl shield sets it up.
void AddEjectedAtSecondFailure(std::vector<EjectedCase>& cases) {
  const std::vector<EjectedCase> at_first = cases;
  for (EjectedCase one : at_first) {
    if (one.question.traffic.requests_per_second < 100 || one.question.weight_ratio < .5) continue;
    one.question.traffic.ejection->failures_in_a_row = 2;
    one.short_runs = one.short_runs > 0 && one.name != "steady" ? 50 : 0;
    cases.push_back(one);
  }
}

std::vector<std::string> LabelsOf(const EjectedCase& one) {
  const Traffic& traffic = one.question.traffic;
  return {one.name,
          fmt::format("{:g}", traffic.requests_per_second),
          fmt::format("{:g}", one.question.weight_ratio * 100),
          fmt::format("{}", traffic.canary_instances),
          fmt::format("{}", traffic.ejection->failures_in_a_row),
          fmt::format("{:g}%", traffic.failure_ratio * 100)};
}

std::vector<std::string> LabelNames() {
  return {"traffic",          "requests a second", "weight",
          "canary instances", "failures in a row", "both fail"};
}

Table FalseRollbacksUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_false_rollbacks",
              .title = fmt::format(
                  "Ejection: rolled back within {} min though as good as the primary (an "
                  "instance is ejected for 3 s and more); plain: the process of harm "
                  "without ejection, where it is unfair and never used. Promised: 1% and 5%",
                  effort.is_long ? 20 : 10),
              .label_names = LabelNames(),
              .columns = {{"plain, α = .01", Unit::kPercent},
                          {"plain, α = .05", Unit::kPercent},
                          {"α = .01", Unit::kPercent},
                          {"α = .05", Unit::kPercent}}};
  std::vector<EjectedCase> cases;
  AddSteady(cases);
  AddBursts(cases);
  AddUnexpected(cases);
  AddEjectedAtSecondFailure(cases);
  std::uint64_t seed = 800;
  for (EjectedCase& one : cases) {
    ++seed;
    const int runs = effort.runs(one.short_runs, 500);
    if (runs == 0) continue;
    one.question.horizon_seconds = effort.is_long ? 1200 : 600;
    const auto judged = Often(JudgeHarm, one.question, runs, seed, effort);
    Row row{.labels = LabelsOf(one),
            .figures = {ShareAbove(judged, &Judged::greatest_plain, kEjectedAlpha),
                        ShareAbove(judged, &Judged::greatest_plain, kOtherAlpha),
                        ShareAbove(judged, &Judged::greatest, kEjectedAlpha),
                        ShareAbove(judged, &Judged::greatest, kOtherAlpha)}};
    if (!KeepsShare(*row.figures[2], kEjectedAlpha) || !KeepsShare(*row.figures[3], kOtherAlpha)) {
      row.broken = "rolled back too often";
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<EjectedCase> CasesAtMargin() {
  std::vector<EjectedCase> cases;
  for (const double weight : {10, 50}) {
    for (const int instances : {1, 4}) {
      cases.push_back(EjectedCaseOf("steady", 100, weight, instances, .002));
      for (const double seconds : {.1, .3, 1.0}) {
        EjectedCase one =
            EjectedCaseOf(fmt::format("common bursts of {:g} s", seconds), 100, weight, instances,
                          .01, weight == 50 && instances == 1 && seconds == .3 ? 100 : 0);
        one.question.traffic.common_burst = 50;
        one.question.traffic.common_burst_seconds = seconds;
        cases.push_back(one);
      }
    }
  }
  for (const double rate : {10, 1000}) {
    EjectedCase one = EjectedCaseOf("common bursts of 0.3 s", rate, 50, 1, .01);
    one.question.traffic.common_burst = 50;
    one.question.traffic.common_burst_seconds = .3;
    cases.push_back(one);
  }
  for (const int instances : {1, 4}) {
    EjectedCase hopeless = EjectedCaseOf("what fails fails at each try", 100, 50, instances, .01);
    hopeless.question.traffic.ejection->hopeless = .5;
    hopeless.question.traffic.ejection->told_early = true;
    cases.push_back(hopeless);
  }
  const auto add_outages = [&cases](double weight, int instances, double seconds) {
    const bool shown = weight == 10 && seconds == .1;
    EjectedCase one = EjectedCaseOf(fmt::format("common outages of {:g} s", seconds), 100, weight,
                                    instances, .001, shown ? 100 : 0);
    one.question.traffic.common_burst = kOutage;
    one.question.traffic.common_burst_seconds = seconds;
    cases.push_back(one);
  };
  for (const double weight : {10, 50}) {
    for (const double seconds : {.02, .1, .5}) add_outages(weight, 1, seconds);
  }
  for (const double seconds : {.1, .5}) add_outages(50, 4, seconds);
  return cases;
}

Table FalseAdvancesUnderEjection(const Effort& effort) {
  Table table{.id = "ejected_false_advances",
              .title = fmt::format(
                  "Ejection: proven within {} min though worse by exactly the margin (0.01, β = "
                  ".05); plain: the process of safety without ejection. Promised: 5%",
                  effort.is_long ? 10 : 5),
              .label_names = LabelNames(),
              .columns = {{"plain", Unit::kPercent}, {"advanced", Unit::kPercent}}};
  std::vector<EjectedCase> cases = CasesAtMargin();
  AddEjectedAtSecondFailure(cases);
  std::uint64_t seed = 900;
  for (EjectedCase& one : cases) {
    ++seed;
    const int runs = effort.runs(one.short_runs, 500);
    if (runs == 0) continue;
    one.question.traffic.fault.excess = kEjectedMargin.absolute;
    one.question.horizon_seconds = effort.is_long ? 600 : 300;
    const auto judged = Often(JudgeSafe, one.question, runs, seed, effort);
    Row row{.labels = LabelsOf(one),
            .figures = {ShareAbove(judged, &Judged::greatest_plain, kEjectedBeta),
                        ShareAbove(judged, &Judged::greatest, kEjectedBeta)}};
    if (!KeepsShare(*row.figures[1], kEjectedBeta)) row.broken = "advanced too often";
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::vector<Table> Ejections(const Effort& effort) {
  return {FalseRollbacksUnderEjection(effort), FalseAdvancesUnderEjection(effort)};
}

}  // namespace consul_canary::simulation
