#include "tests/simulation/in_flight.h"

#include <algorithm>

#include "tests/simulation/latencies.h"

namespace consul_canary::simulation {
namespace {

constexpr double kCallerGivesUpSeconds = 15;

}  // namespace

InFlight::InFlight(const Traffic& traffic) : traffic_(traffic), histogram_(EmptyHistogram()) {}

void InFlight::Start(double now, const Instance& instance, double rate, const Fault& fault,
                     const Hang& hang, Random& random) {
  const double begins = now + Uniform(0, 1, random);
  Request request{
      .seconds = fault.slower * RequestSeconds(*traffic_.latency, random) + fault.slower_by,
      .answered = !Happens(fault.hang_ratio, random),
      .fails = Happens(rate, random)};
  if (begins >= instance.stalls_from && begins < instance.stalled_until) {
    request.seconds += instance.stalled_until - begins;
  }
  if (begins >= hang.from && begins < hang.until) request.seconds += hang.until - begins;
  if (Happens(fault.timeout_ratio, random)) {
    request.seconds = kCallerGivesUpSeconds;
    request.fails = true;
  }
  request.ends = begins + (request.answered ? request.seconds : kCallerGivesUpSeconds);
  under_way_.push(request);
}

stats::Counts InFlight::Serve(double now, double mean, double rate, const Fault& fault,
                              const Hang& hang, const Instances& instances, Random& random) {
  for (const Instance& instance : instances.all()) {
    const std::int64_t requests = Poisson(mean, random);
    for (std::int64_t i = 0; i < requests; ++i) {
      Start(now, instance, instances.RateOf(instance, rate), fault, hang, random);
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

stats::LatencyCounts InFlight::Flush() { return std::exchange(histogram_, EmptyHistogram()); }

}  // namespace consul_canary::simulation
