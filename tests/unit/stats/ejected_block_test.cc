// Literals: an independent reading of docs/statistics.md#ejection in mpmath with 40 digits, with
// direct sums of binomial coefficients and bisection for the projections.
#include "analyzer/stats/ejected_block.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "tests/unit/stats/ejected_ticks.h"

namespace consul_canary::stats {
namespace {

constexpr double kRounding = 1e-10;

Rate RateOf(double failure) { return {failure, 1 - failure}; }

EjectionTick Tick(const Counts& primary, const Counts& canary, double weight_ratio,
                  std::int64_t active_instances, bool retried = false,
                  std::int64_t failures_in_a_row = 1) {
  return {primary, canary, weight_ratio, active_instances, retried, failures_in_a_row};
}

TEST(EjectedBlock, AgreesWithFortyDigitArithmetic) {
  struct Row {
    EjectionTick tick;
    double p, q, expected;
  };
  const Row rows[] = {
      // Steady: fewer failures are to be expected than there are instances.
      {Tick({50, 0}, {50, 0}, .5, 1), .001, .002, -1.078282801727021e-5},
      {Tick({50, 0}, {50, 1}, .5, 1), .001, .002, .2424915473008993},
      {Tick({500, 250}, {500, 1}, .5, 4), .5, .9, -12.84690630744913},
      {Tick({19, 0}, {2, 2}, .05, 4, true), .01, .04, 2.048216831032847},
      // Looked up for each failure, with and without retries, surplus, more failures than
      // instances.
      {Tick({97, 0}, {3, 1}, .5, 1, true), .001, .5, 3.410694993848598},
      {Tick({98, 2}, {3, 1}, .5, 1, true), .001, .5, -1.062916478970122},
      {Tick({90, 1}, {10, 0}, .5, 1), .001, .5, -2.727601998415498},
      {Tick({88, 1}, {14, 3}, .1, 2, true), .002, .3, -1.236571460377516},
      {Tick({80, 3}, {20, 4}, .5, 1, true), .002, .3, -8.412072179732875},
      {Tick({999, 7}, {1, 1}, .01, 1), .001, .05, 3.211030255483666},
      {Tick({1, 0}, {1, 1}, .5, 1), .001, .1, .7340160981029902},
      // Ejected only at the second or third failure in a row.
      {Tick({98, 0}, {4, 2}, .5, 1, true, 2), .001, .9, 4.896357766181891},
      {Tick({80, 0}, {30, 7}, .5, 1, true, 2), .001, .2, 5.850790252751082},
      {Tick({75, 2}, {52, 14}, .5, 2, false, 2), .02, .31, -1.0811724389195507},
      {Tick({70, 1}, {50, 5}, .5, 2, false, 2), .003, .21, .016806669146911343},
      {Tick({96, 1}, {8, 4}, .5, 1, true, 3), .002, .8, 6.943587251825087},
      {Tick({60, 0}, {40, 3}, .5, 1, true, 2), .001, .05, 1.700973021610846},
  };
  for (const Row& row : rows) {
    EXPECT_NEAR(LogEjectedBlock(row.tick, RateOf(row.p), RateOf(row.q)), row.expected, 1e-11)
        << row.expected;
  }
}

TEST(EjectedBlock, AgreesWithFortyDigitArithmeticAgainstAMargin) {
  EXPECT_NEAR(
      LogEjectedMarginBlock(Tick({60, 1}, {40, 2}, .5, 1), RateOf(.001), RateOf(.051), {1, .01}),
      -4.518970619872933, 1e-10);
  EXPECT_NEAR(LogEjectedMarginBlock(Tick({97, 0}, {3, 1}, .5, 1, true), RateOf(.001), RateOf(.5),
                                    {1.5, .005}),
              2.646275129228031, 1e-10);
  EXPECT_NEAR(
      LogEjectedMarginBlock(Tick({50, 2}, {60, 3}, .5, 2, true), RateOf(.02), RateOf(.21), {2, 0}),
      -4.56653802911129, 1e-10);
}

TEST(EjectedBlock, AgreesWithFortyDigitArithmeticForSafety) {
  struct Row {
    EjectionTick tick;
    double p, q;
    Margin margin;
    double expected;
  };
  const Row rows[] = {
      {Tick({50, 0}, {50, 0}, .5, 1), .001, .001, {1, .01}, .4549879841827232},
      {Tick({90, 2}, {10, 0}, .1, 1), .02, .005, {1.5, .01}, .362474148159061},
      // More failures of the primary than its rate explains.
      {Tick({90, 40}, {10, 0}, .1, 1), .02, .005, {1.5, .01}, .7082560631931749},
      {Tick({1000, 3}, {25, 1}, .1, 1), .001, .0005, {1, .005}, -2.294267205021644},
      {Tick({97, 1}, {3, 1}, .5, 1), .002, .001, {1, .01}, -2.364230876609139},
      {Tick({5, 0}, {20, 0}, .1, 1), .002, .002, {1, .01}, .1671897738130458},
      {Tick({95, 1}, {5, 0}, .5, 1), .02, .01, {1, .01}, .05214469362248064},
  };
  for (const Row& row : rows) {
    EXPECT_NEAR(LogEjectedSafeBlock(row.tick, RateOf(row.p), RateOf(row.q), row.margin),
                row.expected, 1e-11)
        << row.expected;
  }
}

TEST(EjectedBlock, IsNoEvidenceWithoutRequestsOfTheCanaryOrWithOneRequestInAll) {
  const Rate p = RateOf(.001), q = RateOf(.1);
  EXPECT_EQ(LogEjectedBlock(Tick({100, 3}, {0, 0}, .5, 1), p, q), 0.0);
  EXPECT_EQ(LogEjectedBlock(Tick({0, 0}, {1, 1}, .5, 1), p, q), 0.0);
  EXPECT_EQ(LogEjectedBlock(Tick({1, 0}, {1, 1}, .5, 1, true), p, q), 0.0);  // one, tried twice
  EXPECT_EQ(LogEjectedMarginBlock(Tick({100, 3}, {0, 0}, .5, 1), p, q, {1, .01}), 0.0);
  EXPECT_EQ(LogEjectedSafeBlock(Tick({100, 3}, {0, 0}, .5, 1), p, p, {1, .01}), 0.0);
}

TEST(EjectedBlock, FallsWithEachFailureOfThePrimary) {
  for (const double q : {.002, .05, .5}) {
    double last = std::numeric_limits<double>::infinity();
    for (std::int64_t failures = 0; failures <= 97; ++failures) {
      const double next =
          LogEjectedBlock(Tick({97, failures}, {3, 1}, .5, 1, true), RateOf(.001), RateOf(q));
      EXPECT_LT(next, last) << q << ' ' << failures;
      last = next;
    }
  }
}

TEST(EjectedBlock, GrowsWithTheCanarysFailuresUpToOneAnInstance) {
  const auto log_block = [](std::int64_t failures, double q) {
    return LogEjectedBlock(Tick({80, 0}, {10, failures}, .1, 4), RateOf(.001), RateOf(q));
  };
  for (const double q : {.002, .05, .7}) {
    for (std::int64_t failures = 1; failures <= 4; ++failures) {
      EXPECT_GT(log_block(failures, q), log_block(failures - 1, q)) << q << ' ' << failures;
    }
  }
  // A fifth of four instances failed while its ejection was under way: neither for nor against.
  EXPECT_EQ(log_block(5, .7), log_block(4, .7));
}

TEST(EjectedBlock, TakesNoInstanceForOne) {
  EXPECT_EQ(LogEjectedBlock(Tick({95, 0}, {5, 1}, .5, 0), RateOf(.001), RateOf(.3)),
            LogEjectedBlock(Tick({95, 0}, {5, 1}, .5, 1), RateOf(.001), RateOf(.3)));
}

TEST(EjectedBlock, IsFiniteAtTheExtremes) {
  const std::int64_t many = 1'000'000'000;
  const EjectionTick ticks[] = {
      Tick({many, 0}, {many, 0}, .5, 1),      Tick({1, 1}, {many, many}, .5, 1),
      Tick({many, many}, {1, 1}, .01, 1),     Tick({many, many}, {many, many}, .5, 4, true),
      Tick({many, many / 2}, {1, 1}, .5, 1),  Tick({0, 0}, {many, many / 2}, 1, many),
      Tick({many, 7}, {many, 3}, 0, 1, true), Tick({0, 0}, {2, 2}, .5, 1, true),
  };
  for (const EjectionTick& tick : ticks) {
    for (const double p : {1e-12, .001, .5, 1 - 1e-12}) {
      for (const double odds_ratio : EjectedHarmGrid().odds_ratios) {
        const Rate q = RaiseOdds(RateOf(p), odds_ratio);
        EXPECT_TRUE(std::isfinite(LogEjectedBlock(tick, RateOf(p), q))) << p << ' ' << odds_ratio;
      }
      EXPECT_TRUE(std::isfinite(LogEjectedSafeBlock(tick, RateOf(p), RateOf(p), {1, .01})));
    }
  }
}

TEST(EjectedBlockDeathTest, RefusesMoreFailuresThanRequests) {
  const Rate p = RateOf(.001), q = RateOf(.1);
  EXPECT_DEBUG_DEATH(static_cast<void>(LogEjectedBlock(Tick({95, 0}, {5, 6}, .5, 1), p, q)),
                     "IsValid");
  EXPECT_DEBUG_DEATH(static_cast<void>(LogEjectedBlock(Tick({5, 6}, {5, 0}, .5, 1), p, q)),
                     "IsValid");
}

// What goes on in a mesh, beside what the process was told: its fairness may not depend on that.
struct Mesh {
  std::int64_t requests;
  double weight_ratio;
  std::int64_t instances;
  bool retried;
};

std::vector<Mesh> Meshes() {
  std::vector<Mesh> all;
  for (const std::int64_t requests : {2, 3, 7, 20}) {
    for (const double weight_ratio : {.01, .1, .5, .9}) {
      for (const std::int64_t instances : {1, 2, 4}) {
        for (const bool retried : {false, true}) {
          all.push_back({requests, weight_ratio, instances, retried});
        }
      }
    }
  }
  return all;
}

using LogBlocks = std::function<std::array<double, kOddsGridSize>(const EjectionTick&)>;

void ExpectFair(const EjectedTicks& ticks, const std::string& what, const LogBlocks& log_blocks) {
  std::array<double, kOddsGridSize> sums{};
  ticks.ForEach([&](const EjectionTick& tick, double chance) {
    const auto blocks = log_blocks(tick);
    for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += chance * std::exp(blocks[k]);
  });
  for (std::size_t k = 0; k < sums.size(); ++k) {
    EXPECT_LE(sums[k], 1 + kRounding)
        << what << ", odds ratio " << k << ", " << ticks.mesh().requests << " requests, rate "
        << ticks.mesh().canary_rate;
  }
}

std::array<double, kOddsGridSize> BlocksAt(double p, EjectionTick tick, double weight_ratio,
                                           std::int64_t instances,
                                           std::int64_t failures_in_a_row = 1) {
  tick.weight_ratio = weight_ratio;
  tick.active_instances = instances;
  tick.failures_in_a_row = failures_in_a_row;
  std::array<double, kOddsGridSize> blocks{};
  for (std::size_t k = 0; k < blocks.size(); ++k) {
    blocks[k] =
        LogEjectedBlock(tick, RateOf(p), RaiseOdds(RateOf(p), EjectedHarmGrid().odds_ratios[k]));
  }
  return blocks;
}

constexpr double kRates[] = {0.0, .001, .02, .1, .3, .6, .95, 1.0};

TEST(EjectedBlock, HasAnExpectationOfAtMostOneWhereverTheCanaryStops) {
  for (const Mesh& mesh : Meshes()) {
    for (const double rate : kRates) {
      const EjectedTicks stops(
          {mesh.requests, rate, rate, mesh.retried, StopsAfter(mesh.weight_ratio, mesh.instances)});
      for (const double p : {.001, .02, .3}) {
        ExpectFair(stops, "stops", [&](const EjectionTick& tick) {
          return BlocksAt(p, tick, mesh.weight_ratio, mesh.instances);
        });
      }
    }
  }
}

TEST(EjectedBlock, HasAnExpectationOfAtMostOneWhereTheCanaryComesBackOrSpillsOver) {
  for (const Mesh& mesh : Meshes()) {
    // Out of service in every second third of the tick once it has failed; or the share alone
    // falls.
    const auto comes_back = [&](std::int64_t place, std::int64_t failures) {
      const bool away = failures > 0 && place * 3 / mesh.requests == 1;
      return away ? 0.0 : mesh.weight_ratio;
    };
    for (const double rate : kRates) {
      for (const auto& chance :
           std::initializer_list<std::function<double(std::int64_t, std::int64_t)>>{
               comes_back, SpillsOver(mesh.weight_ratio, mesh.instances)}) {
        ExpectFair(EjectedTicks({mesh.requests, rate, rate, mesh.retried, chance}), "comes back",
                   [&](const EjectionTick& tick) {
                     return BlocksAt(.01, tick, mesh.weight_ratio, mesh.instances);
                   });
      }
    }
  }
}

TEST(EjectedBlock, HasAnExpectationOfAtMostOneWhateverWeightAndInstancesItIsTold) {
  for (const Mesh& mesh : Meshes()) {
    for (const double rate : {.02, .3, .8}) {
      const EjectedTicks stops(
          {mesh.requests, rate, rate, mesh.retried, StopsAfter(mesh.weight_ratio, mesh.instances)});
      for (const double told : {0.0, .05, .5, 1.0}) {
        for (const int in_a_row : {1, 2, 5}) {
          ExpectFair(stops, "told", [&](const EjectionTick& tick) {
            return BlocksAt(.02, tick, told, 3 - mesh.instances, in_a_row);
          });
        }
      }
    }
  }
}

TEST(EjectedBlock, HasAnExpectationOfAtMostOneForABetterCanary) {
  for (const Mesh& mesh : Meshes()) {
    for (const double rate : {.02, .3, .8}) {
      const EjectedTicks better({mesh.requests, rate, rate * .4, mesh.retried,
                                 StopsAfter(mesh.weight_ratio, mesh.instances)});
      ExpectFair(better, "better", [&](const EjectionTick& tick) {
        return BlocksAt(.02, tick, mesh.weight_ratio, mesh.instances);
      });
    }
  }
}

TEST(EjectedBlock, HasAnExpectationOfAtMostOneWithinTheTolerance) {
  for (const Mesh& mesh : Meshes()) {
    for (const Margin margin : {Margin{1, .05}, Margin{1.5, .01}, Margin{2, 0}}) {
      for (const double rate : {0.0, .02, .3}) {
        for (const double of_limit : {0.0, .5, 1.0}) {
          const EjectedTicks within({mesh.requests, rate, of_limit * CanaryLimit(margin, rate),
                                     mesh.retried, StopsAfter(mesh.weight_ratio, mesh.instances)});
          ExpectFair(within, "within", [&](EjectionTick tick) {
            tick.weight_ratio = mesh.weight_ratio;
            tick.active_instances = mesh.instances;
            std::array<double, kOddsGridSize> blocks{};
            const double limit = CanaryLimit(margin, .02);
            for (std::size_t k = 0; k < blocks.size(); ++k) {
              blocks[k] = LogEjectedMarginBlock(
                  tick, RateOf(.02), RaiseOdds(RateOf(limit), EjectedHarmGrid().odds_ratios[k]),
                  margin);
            }
            return blocks;
          });
        }
      }
    }
  }
}

TEST(EjectedBlock, OfSafetyHasAnExpectationOfAtMostOneOnAndBeyondTheMargin) {
  for (const Mesh& mesh : Meshes()) {
    for (const Margin margin : {Margin{1, .01}, Margin{1.5, .05}, Margin{.5, .2}}) {
      for (const double rate : {0.0, .02, .3}) {
        for (const double beyond : {0.0, .3, 1.0}) {
          const double limit = CanaryLimit(margin, rate);
          const EjectedTicks worse({mesh.requests, rate, limit + beyond * (1 - limit), mesh.retried,
                                    StopsAfter(mesh.weight_ratio, mesh.instances)});
          for (const double told : {mesh.weight_ratio, .3}) {
            const double expectation = ExpectedEvidence(worse, [&](EjectionTick tick) {
              tick.weight_ratio = told;
              return LogEjectedSafeBlock(tick, RateOf(.02), RateOf(.01), margin);
            });
            EXPECT_LE(expectation, 1 + kRounding) << mesh.requests << ' ' << rate;
          }
        }
      }
    }
  }
}

// Why all this: the same canary, as good as the primary, and the process that does not know of
// ejection. Each such second multiplies its evidence by a fifth more, on average.
TEST(EjectedBlock, IsNeededWhereTheBlockOfHarmIsUnfair) {
  const EjectedTicks mesh({22, .05, .05, false, StopsAfter(.5, 1)});
  const auto expectation = [&](const auto& log_evidence) {
    return ExpectedEvidence(mesh, log_evidence);
  };
  const Rate p = RateOf(.05), q = RaiseOdds(p, 8);
  EXPECT_GT(expectation([&](const EjectionTick& tick) {
              return LogBlock(tick.primary, tick.canary, p, q);
            }),
            1.2);
  EXPECT_LE(expectation([&](EjectionTick tick) {
              tick.weight_ratio = .5;
              return LogEjectedBlock(tick, p, q);
            }),
            1 + kRounding);
}

}  // namespace
}  // namespace consul_canary::stats
