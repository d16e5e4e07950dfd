#include "tests/simulation/ejected_judges.h"

#include <algorithm>
#include <cmath>

#include "analyzer/stats/ejected_harm.h"
#include "analyzer/stats/ejected_safe.h"
#include "analyzer/stats/harm.h"
#include "analyzer/stats/safe.h"

namespace consul_canary::simulation {
namespace {

constexpr stats::HarmPlan kPlan{.planned_epochs = 60};

std::int64_t Reported(const EjectedQuestion& question, const EjectedSecond& second) {
  const int callers = question.traffic.ejection.value_or(Ejection{}).callers;
  if (question.told == Told::kOne) return 1;
  const std::int64_t active = second.tick.active_instances;
  return question.told == Told::kInstances ? active / callers : active;
}

// plain(tick), fair(tick): observe and give ln M.
template <class Plain, class Fair>
Judged Judge(const EjectedQuestion& question, EjectedStream& stream, const Plain& plain,
             const Fair& fair) {
  const double enough = -std::log(question.level);
  Judged judged;
  bool plain_said = false, said = false;
  for (int second = 1; second <= question.horizon_seconds; ++second) {
    EjectedSecond now = stream.Next(question.weight_ratio);
    now.tick.active_instances = Reported(question, now);
    const int since = second - static_cast<int>(question.traffic.fault.after_seconds);
    if (since > 0) {
      if (!said) judged.absorbed += now.absorbed;
      if (!plain_said) judged.plain_failed += now.failed;
      if (!said) judged.failed += now.failed;
      if (!plain_said) judged.plain_seconds = since;
      if (!said) judged.seconds = since;
    }
    judged.greatest_plain = std::max(judged.greatest_plain, plain(now));
    judged.greatest = std::max(judged.greatest, fair(now));
    plain_said = judged.greatest_plain >= enough;
    said = judged.greatest >= enough;
    if (question.stops == Stops::kOncePlainSaid && plain_said) break;
    if (question.stops == Stops::kOnceSaid && said) break;
  }
  return judged;
}

}  // namespace

Judged JudgeHarm(const EjectedQuestion& question, std::uint64_t seed, std::uint64_t run) {
  EjectedStream stream(question.traffic, RandomOf(seed, run));
  stats::HarmState plain = stats::StartHarm(stream.history());
  stats::EjectedHarmState fair = stats::StartEjectedHarm(stream.history());
  return Judge(
      question, stream,
      [&](const EjectedSecond& second) {
        stats::ObserveHarm(plain, kPlan, second.tick.primary, second.AtLeast().canary, 1, 1);
        return stats::LogHarm(plain);
      },
      [&](const EjectedSecond& second) {
        stats::ObserveEjectedHarm(fair, kPlan, second.AtLeast(), 1, 1);
        return stats::LogEjectedHarm(fair);
      });
}

Judged JudgeSafe(const EjectedQuestion& question, std::uint64_t seed, std::uint64_t run) {
  EjectedStream stream(question.traffic, RandomOf(seed, run));
  stats::SafeState plain = stats::StartSafe(stream.history());
  stats::EjectedSafeState fair = stats::StartEjectedSafe(stream.history());
  return Judge(
      question, stream,
      [&](const EjectedSecond& second) {
        const stats::EjectionTick tick = second.AtMost();
        stats::ObserveSafe(plain, kEjectedMargin, tick.primary, tick.canary, 1);
        return stats::LogSafe(plain);
      },
      [&](const EjectedSecond& second) {
        stats::ObserveEjectedSafe(fair, kEjectedMargin, second.AtMost(), 1);
        return stats::LogEjectedSafe(fair);
      });
}

std::vector<Judged> Often(Judged (*judge)(const EjectedQuestion&, std::uint64_t, std::uint64_t),
                          const EjectedQuestion& question, int runs, std::uint64_t seed,
                          const Effort& effort) {
  return Repeat(runs, effort.threads,
                [&](int run) { return judge(question, seed, static_cast<std::uint64_t>(run)); });
}

Figure ShareAbove(const std::vector<Judged>& all, double Judged::*greatest, double level) {
  return ShareOver(all, [&](const Judged& one) { return one.*greatest >= -std::log(level); });
}

EjectedCase EjectedCaseOf(const std::string& name, double requests_per_second,
                          double weight_percent, int instances, double failure_ratio,
                          int short_runs) {
  EjectedCase one{.name = name, .short_runs = short_runs};
  one.question.traffic.requests_per_second = requests_per_second;
  one.question.traffic.failure_ratio = failure_ratio;
  one.question.traffic.canary_instances = instances;
  one.question.traffic.ejection = Ejection{};
  one.question.weight_ratio = weight_percent / 100;
  return one;
}

}  // namespace consul_canary::simulation
