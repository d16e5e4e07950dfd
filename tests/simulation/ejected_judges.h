// Two judges on the same seconds of a canary whose failures eject it: the process that knows of
// ejection (stats/ejected_harm.h, ejected_safe.h) and the plain one that does not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analyzer/stats/margin.h"
#include "tests/simulation/effort.h"
#include "tests/simulation/ejected_stream.h"
#include "tests/simulation/figures.h"

namespace consul_canary::simulation {

inline constexpr double kEjectedAlpha = 0.01;
inline constexpr double kEjectedBeta = 0.05;
inline constexpr stats::Margin kEjectedMargin{1.0, 0.01};

enum class Told { kAll, kInstances, kOne };  // what a process is told of what can be ejected

enum class Stops { kAtHorizon, kOncePlainSaid, kOnceSaid };  // what ends a run

struct Judged {
  double greatest_plain = 0;  // of ln M, at any time
  double greatest = 0;
  // Since the fault, until each of the two said so at its level, or the horizon.
  int plain_seconds = 0, seconds = 0;
  std::int64_t plain_failed = 0, failed = 0;  // for callers, until then
  std::int64_t absorbed = 0;                  // until the second one said so
};

struct EjectedQuestion {
  Traffic traffic;
  double weight_ratio = .5;
  int horizon_seconds = 600;
  double level = kEjectedAlpha;
  Stops stops = Stops::kAtHorizon;
  Told told = Told::kAll;
};

struct EjectedCase {
  std::string name;
  EjectedQuestion question;
  int short_runs = 0;  // 0: only in the long form
};

// The first failure ejects an instance for 3 s and more; what failed is retried.
[[nodiscard]] EjectedCase EjectedCaseOf(const std::string& name, double requests_per_second,
                                        double weight_percent, int instances, double failure_ratio,
                                        int short_runs = 0);

[[nodiscard]] Judged JudgeHarm(const EjectedQuestion& question, std::uint64_t seed,
                               std::uint64_t run);
[[nodiscard]] Judged JudgeSafe(const EjectedQuestion& question, std::uint64_t seed,
                               std::uint64_t run);

[[nodiscard]] std::vector<Judged> Often(Judged (*judge)(const EjectedQuestion&, std::uint64_t,
                                                        std::uint64_t),
                                        const EjectedQuestion& question, int runs,
                                        std::uint64_t seed, const Effort& effort);

// How many ever said so at this level.
[[nodiscard]] Figure ShareAbove(const std::vector<Judged>& all, double Judged::*greatest,
                                double level);

}  // namespace consul_canary::simulation
