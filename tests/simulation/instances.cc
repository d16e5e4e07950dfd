#include "tests/simulation/instances.h"

#include <algorithm>
#include <cmath>

#include "tests/simulation/latencies.h"

namespace consul_canary::simulation {
namespace {

constexpr double kSecondsPerHour = 3600;

}  // namespace

Instances::Instances(const std::string& prefix, int count, const Traffic& traffic)
    : traffic_(traffic) {
  for (int i = 0; i < count; ++i) {
    all_.push_back({.name = prefix + std::to_string(i), .stalled = EmptyHistogram()});
  }
}

void Instances::BeginSecond(double now, Random& random) {
  now_ = now;
  const PodBursts& bursts = traffic_.pod_bursts;
  for (Instance& instance : all_) {
    instance.counts = {};
    if (now >= instance.bad_until && Happens(bursts.per_hour / kSecondsPerHour, random)) {
      instance.bad_until = now + std::ceil(Exponential(bursts.mean_seconds, random));
    }
    if (traffic_.latency && now >= instance.stalled_until &&
        Happens(traffic_.latency->stalls_per_hour / kSecondsPerHour, random)) {
      instance.stalls_from = now + Uniform(0, 1, random);
      instance.stalled_until = instance.stalls_from + traffic_.latency->stall_seconds;
    }
  }
}

double Instances::RateOf(const Instance& instance, double rate) const {
  return now_ < instance.bad_until ? std::max(rate, traffic_.pod_bursts.failure_ratio) : rate;
}

stats::Counts Instances::Serve(double mean, double rate, Random& random) {
  stats::Counts subset;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    Instance& instance = all_[i];
    const std::int64_t requests = Poisson(mean, random);
    const std::int64_t failed = Binomial(requests, RateOf(instance, rate), random);
    const std::int64_t extra = failed * (traffic_.retries.attempts - 1);
    instance.counts.completed += requests;
    instance.counts.failures += failed;
    SpreadRetries(extra, i, random);
    const std::int64_t judged_extra = traffic_.retries.judged ? extra : 0;
    subset.completed += requests + judged_extra;
    subset.failures += failed + judged_extra;
    if (traffic_.latency) HoldUp(instance, requests, random);
  }
  return subset;
}

void Instances::SpreadRetries(std::int64_t extra, std::size_t first, Random& random) {
  const auto take = [this](std::size_t i, std::int64_t attempts) {
    all_[i].counts.completed += attempts;
    all_[i].counts.failures += attempts;
  };
  if (traffic_.retries.same_instance) return take(first, extra);
  std::uniform_int_distribution<std::size_t> any(0, all_.size() - 1);
  for (std::int64_t attempt = 0; attempt < extra; ++attempt) take(any(random), 1);
}

// Requests that arrive during a stall are answered after it.
void Instances::HoldUp(Instance& instance, std::int64_t served, Random& random) {
  const double from = std::max(now_, instance.stalls_from);
  const double to = std::min(now_ + 1, instance.stalled_until);
  const std::int64_t held = Binomial(served, to - from, random);
  for (std::int64_t i = 0; i < held; ++i) {
    const double waits = instance.stalled_until - Uniform(from, to, random);
    AddRequest(instance.stalled, waits + RequestSeconds(*traffic_.latency, random));
  }
  instance.untimed += served - held;
}

std::vector<stats::LatencyCounts> Instances::Flush(Random& random) {
  std::vector<stats::LatencyCounts> histograms;
  for (Instance& instance : all_) {
    histograms.push_back(Histogram(*traffic_.latency, instance.untimed, random));
    histograms.back() += instance.stalled;
    instance.untimed = 0;
    instance.stalled = EmptyHistogram();
  }
  return histograms;
}

}  // namespace consul_canary::simulation
