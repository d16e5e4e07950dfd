#include "tests/simulation/in_flight.h"

#include <algorithm>

#include "tests/simulation/latencies.h"

namespace consul_canary::simulation {
namespace {

constexpr double kCallerGivesUpSeconds = 15;

}  // namespace

InFlight::InFlight(const Traffic& traffic) : traffic_(traffic), histogram_(EmptyHistogram()) {}

void InFlight::Start(double now, const Instance& instance, double rate, const Fault& fault,
                     Random& random) {
  const double begins = now + Uniform(0, 1, random);
  Request request{.seconds = fault.slower * RequestSeconds(*traffic_.latency, random),
                  .answered = !Happens(fault.hang_ratio, random),
                  .fails = Happens(rate, random)};
  if (begins >= instance.stalls_from && begins < instance.stalled_until) {
    request.seconds += instance.stalled_until - begins;
  }
  request.ends = begins + (request.answered ? request.seconds : kCallerGivesUpSeconds);
  under_way_.push(request);
}

stats::Counts InFlight::Serve(double now, double mean, double rate, const Fault& fault,
                              const Instances& instances, Random& random) {
  for (const Instance& instance : instances.all()) {
    const std::int64_t requests = Poisson(mean, random);
    for (std::int64_t i = 0; i < requests; ++i) {
      Start(now, instance, instances.RateOf(instance, rate), fault, random);
    }
  }
  stats::Counts answered;
  while (!under_way_.empty() && under_way_.top().ends <= now + 1) {
    const Request& request = under_way_.top();
    if (request.answered) {
      ++answered.completed;
      answered.failures += request.fails ? 1 : 0;
      AddRequest(histogram_, request.seconds);
    }
    under_way_.pop();
  }
  completed_ += static_cast<std::uint64_t>(answered.completed);
  return answered;
}

stats::LateCounts InFlight::Read(double now, double late_after_seconds) {
  const envoy::LateBlock reading{
      .at_seconds = now + 1, .completed = completed_, .active = under_way_.size()};
  if (late_after_seconds <= 0) {
    block_ = reading;
    return {};
  }
  const envoy::LateOutcomes late = envoy::AdvanceLate(block_, reading, late_after_seconds);
  return {static_cast<std::int64_t>(late.started), static_cast<std::int64_t>(late.late)};
}

stats::LatencyCounts InFlight::Flush() { return std::exchange(histogram_, EmptyHistogram()); }

}  // namespace consul_canary::simulation
