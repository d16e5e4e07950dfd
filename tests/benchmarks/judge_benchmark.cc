// How long one tick of 10,000 rollouts takes on one core, and what a rollout holds in memory: the
// real rollout::Judge on simulated traffic with failures, eight latency edges, hanging requests,
// share, overdispersion of ten instances and intervals. Beside it, on the same ticks, the fixed
// thresholds of other tools (success ratio and a latency quantile, no statistics), and the part of
// the update of harm that judge_numpy.py does too.
//
// Prints one JSON object a line. A tick in which every rollout's histograms have moved counts,
// which in a mesh they do every five seconds.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "analyzer/rollout/judge.h"
#include "analyzer/rollout/thresholds.h"
#include "analyzer/stats/harm.h"
#include "tests/benchmarks/allocations.h"
#include "tests/simulation/rollout.h"
#include "tests/simulation/stream.h"

namespace consul_canary::benchmarks {
namespace {

using simulation::Stream;
using simulation::Traffic;

constexpr std::size_t kRollouts = 10000;
constexpr std::size_t kServices = 20;  // of different traffic; each stands for many rollouts
constexpr int kSecondsBefore = 300;    // of each service's rollout
constexpr std::size_t kTicks = 25;     // of which one in five brings histograms

rollout::Spec DefaultSpec() {
  rollout::Spec spec;
  spec.service = "api";
  for (const double weight : {1, 5, 10, 25, 50}) spec.steps.push_back({.weight_percent = weight});
  // No step is over before its time, so that all rollouts stay where they can be judged.
  for (rollout::Step& step : spec.steps) step.min_duration = rollout::Seconds(1800);
  return spec;
}

// One service's rollout in the midst of its first step, and the looks that come next.
struct Service {
  rollout::State state;
  std::vector<rollout::Observation> looks;
};

Service Serve(const rollout::Spec& spec, std::uint64_t run) {
  const Traffic traffic{.requests_per_second = 20.0 + 20.0 * static_cast<double>(run),
                        .latency = simulation::Latency{}};
  Stream stream(traffic, simulation::RandomOf(1, run));
  simulation::Rollout rollout(spec, stream, {.prepare_seconds = 30});
  const auto next = [&] {
    return stream.Next(rollout.canary_ratio(), rollout.late_after_seconds());
  };
  for (int second = 0; second < kSecondsBefore; ++second) rollout.Tick(next());
  Service service{.state = rollout.state()};
  for (std::size_t tick = 0; tick < kTicks; ++tick) {
    rollout.Tick(next());
    service.looks.push_back(rollout.seen());
  }
  return service;
}

std::vector<Service> ServeAll(const rollout::Spec& spec) {
  std::vector<Service> services;
  for (std::size_t i = 0; i < kServices; ++i) services.push_back(Serve(spec, i));
  return services;
}

// Of this process alone: what else the machine does is nobody's merit.
template <class Work>
double SecondsOf(const Work& work) {
  const std::clock_t started = std::clock();
  work();
  return static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC;
}

double MedianOf(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Medians over the ticks in which histograms have moved, and over the others.
struct Times {
  double with_histograms = 0;
  double without = 0;
};

// work(rollout, look) for every rollout, tick by tick.
template <class Work>
Times Measure(const std::vector<Service>& services, const Work& work) {
  std::vector<double> with_histograms;
  std::vector<double> without;
  for (std::size_t tick = 0; tick < kTicks; ++tick) {
    const double seconds = SecondsOf([&] {
      for (std::size_t i = 0; i < kRollouts; ++i) work(i, services[i % kServices].looks[tick]);
    });
    const bool moved = services.front().looks[tick].counts.primary.latency.timed > 0;
    (moved ? with_histograms : without).push_back(seconds);
  }
  return {MedianOf(std::move(with_histograms)), MedianOf(std::move(without))};
}

void Print(const std::string& name, double value, const std::string& unit, const std::string& peer,
           double peer_value) {
  const nlohmann::ordered_json line = {
      {"name", name}, {"value", value},           {"unit", unit},
      {"peer", peer}, {"peer_value", peer_value}, {"ratio", value / peer_value}};
  fmt::print("{}\n", line.dump());
}

[[noreturn]] void Fail(const char* why) {
  fmt::print(stderr, "judge_benchmark: {}\n", why);
  std::exit(1);
}

// What the compiler may not leave out.
double sink = 0;

struct Judged {
  Times times;
  double bytes = 0;  // of one rollout, with all that it has on the heap
};

Judged JudgeAll(const rollout::Spec& spec, const std::vector<Service>& services) {
  const std::size_t before = BytesOnHeap();
  std::vector<rollout::State> states;
  states.reserve(kRollouts);
  for (std::size_t i = 0; i < kRollouts; ++i) states.push_back(services[i % kServices].state);
  Judged judged;
  judged.times = Measure(services, [&](std::size_t i, const rollout::Observation& look) {
    sink += rollout::Judge(spec, look, states[i]).log_harm;
  });
  judged.bytes = static_cast<double>(BytesOnHeap() - before) / kRollouts;
  return judged;
}

// As Flagger is often set up, but with its shortest interval, so that checks fall into the ticks.
rollout::Spec ThresholdSpec() {
  rollout::Spec spec;
  spec.judge = rollout::JudgeMode::kThresholds;
  const rollout::Seconds window(10);
  spec.thresholds = {
      {.metric = rollout::ThresholdMetric::kSuccessRatio, .min = 0.99, .window = window},
      {.metric = rollout::ThresholdMetric::kLatency, .max = 0.5, .window = window}};
  return spec;
}

Judged CheckThresholds(const std::vector<Service>& services) {
  const rollout::Spec spec = ThresholdSpec();
  const std::size_t before = BytesOnHeap();
  std::vector<std::vector<rollout::ThresholdState>> states(kRollouts);
  Judged judged;
  judged.times = Measure(services, [&](std::size_t i, const rollout::Observation& look) {
    rollout::ObserveThresholds(spec, look.counts, 1, states[i]);
    sink += rollout::ThresholdHarm(spec, states[i]).empty() ? 0 : 1;
  });
  judged.bytes = static_cast<double>(BytesOnHeap() - before) / kRollouts;
  return judged;
}

// Nine outcomes of each rollout, as in judge_numpy.py: the block update of harm alone.
double UpdateHarm(const std::vector<Service>& services) {
  constexpr std::size_t kOutcomes = 9;
  std::vector<stats::HarmState> states(kRollouts * kOutcomes, stats::StartHarm({30000, 30}));
  const stats::HarmPlan plan{.planned_epochs = 300};
  return Measure(
             services,
             [&](std::size_t i, const rollout::Observation& look) {
               for (stats::HarmState& state : std::span(states).subspan(i * kOutcomes, kOutcomes)) {
                 stats::ObserveHarm(state, plan, look.counts.primary.high, look.counts.canary.low,
                                    1.5, 1);
                 sink += stats::LogHarm(state);
               }
             })
      .without;
}

// peer_seconds: of judge_numpy.py; 0: it was not run.
int Main(double peer_seconds) {
  const rollout::Spec spec = DefaultSpec();
  const std::vector<Service> services = ServeAll(spec);
  for (const Service& service : services) {
    if (service.state.phase != rollout::Phase::kProgressing) Fail("a rollout is over");
    if (service.state.evidence.latency.size() != 8) Fail("not eight latency edges");
  }
  const Judged ours = JudgeAll(spec, services);
  const Judged thresholds = CheckThresholds(services);
  const std::string peer = "fixed thresholds on success ratio and a latency quantile";
  Print("judge_10000_rollouts_tick_with_histograms", ours.times.with_histograms, "s", peer,
        thresholds.times.with_histograms);
  Print("judge_10000_rollouts_tick", ours.times.without, "s", peer, thresholds.times.without);
  Print("memory_per_rollout", ours.bytes, "bytes", peer, thresholds.bytes);
  if (peer_seconds > 0) {
    Print("harm_of_10000_rollouts_9_outcomes", UpdateHarm(services), "s",
          "numpy, the same formula over arrays", peer_seconds);
  }
  return sink == 0.5 ? 1 : 0;
}

}  // namespace
}  // namespace consul_canary::benchmarks

int main(int argc, char** argv) {
  return consul_canary::benchmarks::Main(argc > 1 ? std::atof(argv[1]) : 0);
}
