#include "tests/simulation/trials.h"

#include <deque>
#include <utility>

#include "tests/simulation/rollout.h"
#include "tests/simulation/stream.h"

namespace consul_canary::simulation {
namespace {

constexpr double kPercent = 100;
constexpr int kRaceSeconds = 3600;
constexpr std::uint64_t kPastSeed = 1'000'000;

void Count(const rollout::TickCounts& tick, Outcome& outcome) {
  ++outcome.seconds;
  outcome.requests += tick.canary.low.completed;
  outcome.failures += tick.canary.low.failures;
}

void Note(const Rollout& rollout, Outcome& outcome) {
  const rollout::VerdictKind kind = rollout.verdict().kind;
  outcome.rolled_back = rollout.rolled_back();
  outcome.promoted = rollout.promoted();
  outcome.safe = outcome.safe || kind == rollout::VerdictKind::kSafe;
  outcome.untrusted = outcome.untrusted || kind == rollout::VerdictKind::kUntrusted;
}

bool IsOver(Until until, const Outcome& outcome) {
  return outcome.rolled_back || outcome.promoted || (until == Until::kSafe && outcome.safe) ||
         (until == Until::kUntrusted && outcome.untrusted);
}

}  // namespace

rollout::Spec KeptAt(double weight_percent) {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = weight_percent, .pause = true}};
  spec.warmup = rollout::Seconds(0);
  spec.deadline = rollout::Seconds(3600);
  return spec;
}

Outcome Run(const Setting& setting, std::uint64_t seed, std::uint64_t run) {
  Stream stream(setting.traffic, RandomOf(seed, run));
  Rollout rollout(setting.spec, stream, setting.before);
  Outcome outcome;
  for (int second = 0; second < setting.horizon_seconds && !IsOver(setting.until, outcome);
       ++second) {
    const bool counts = stream.IsAtFault();
    rollout::TickCounts tick = stream.Next(rollout.canary_ratio(), rollout.late_after_seconds());
    if (counts) Count(tick, outcome);
    rollout.Tick(std::move(tick));
    Note(rollout, outcome);
  }
  return outcome;
}

std::vector<Outcome> Race(const Traffic& traffic, double weight_percent, const Before& before,
                          const std::vector<Entrant>& entrants, std::uint64_t seed,
                          std::uint64_t run) {
  Stream past(traffic, RandomOf(seed + kPastSeed, run));
  Stream stream(traffic, RandomOf(seed, run));
  std::deque<Contestant> contestants;
  for (const Entrant& entrant : entrants) {
    contestants.emplace_back(entrant, past, before);
  }
  std::vector<Outcome> outcomes(entrants.size());
  std::size_t running = entrants.size();
  for (int second = 0; second < kRaceSeconds && running > 0; ++second) {
    const rollout::TickCounts tick = stream.Next(weight_percent / kPercent, 0);
    for (std::size_t i = 0; i < contestants.size(); ++i) {
      Outcome& outcome = outcomes[i];
      if (outcome.rolled_back) continue;
      Count(tick, outcome);
      outcome.rolled_back = contestants[i].Takes(tick);
      if (outcome.rolled_back) --running;
    }
  }
  return outcomes;
}

}  // namespace consul_canary::simulation
