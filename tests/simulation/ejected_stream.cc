#include "tests/simulation/ejected_stream.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace consul_canary::simulation {
namespace {

constexpr std::int64_t kHistoryRequests = 30000;
constexpr double kBurstChance = 0.02;  // of each second, that one begins
constexpr int kRetries = 3;
constexpr double kRetryAfterSeconds = .025;
constexpr double kSweepSeconds = 1;
constexpr double kMostEjectedSeconds = 300;
// Envoy leaves a priority its whole load down to this share of healthy instances, over 1.4.
constexpr double kOverprovisioning = 1.4;

}  // namespace

stats::EjectionTick EjectedSecond::AtLeast() const {
  stats::EjectionTick least = tick;
  least.canary.completed -= repeats;
  least.canary.failures -= repeats;
  return least;
}

stats::EjectionTick EjectedSecond::AtMost() const {
  stats::EjectionTick most = AtLeast();
  most.canary.failures = std::min(tick.canary.failures, most.canary.completed);
  return most;
}

EjectedStream::EjectedStream(const Traffic& traffic, Random random)
    : traffic_(traffic),
      ejects_(traffic.ejection.has_value()),
      ejection_(traffic.ejection.value_or(Ejection{.retried = false})),
      random_(random),
      history_{kHistoryRequests, Binomial(kHistoryRequests, traffic.failure_ratio, random_)} {
  for (int i = 0; i < ejection_.callers; ++i) {
    callers_.push_back({std::vector<Instance>(static_cast<std::size_t>(traffic.canary_instances)),
                        Uniform(0, kSweepSeconds, random_)});
  }
}

double EjectedStream::PrimaryRate(double now) const {
  const bool burst = now >= burst_from_ && now < burst_until_;
  return std::min(1.0, traffic_.failure_ratio * (burst ? traffic_.common_burst : 1));
}

double EjectedStream::CanaryRate(double now) const {
  const bool fault = now >= traffic_.fault.after_seconds;
  return std::min(1.0, PrimaryRate(now) + (fault ? traffic_.fault.excess : 0));
}

bool EjectedStream::IsActive(const Instance& instance, double now) {
  return !instance.ejected && !(instance.stops && instance.stops_at <= now);
}

double EjectedStream::Finds(const Caller& caller, double now) const {
  const auto active = std::ranges::count_if(
      caller.instances, [now](const Instance& instance) { return IsActive(instance, now); });
  const auto all = static_cast<double>(caller.instances.size());
  return std::min(1.0, kOverprovisioning * static_cast<double>(active) / all);
}

EjectedStream::Instance& EjectedStream::AnyActive(Caller& caller, double now) {
  std::vector<Instance*> active;
  for (Instance& instance : caller.instances) {
    if (IsActive(instance, now)) active.push_back(&instance);
  }
  return *active[std::uniform_int_distribution<std::size_t>(0, active.size() - 1)(random_)];
}

void EjectedStream::Fail(Instance& instance, double now) const {
  if (!ejects_ || instance.stops) return;
  if (++instance.failures_in_a_row < ejection_.failures_in_a_row) return;
  instance.failures_in_a_row = 0;
  instance.stops = true;
  instance.stops_at = now + ejection_.lag_seconds;
}

void EjectedStream::Succeed(Caller& caller, std::int64_t requests, double now) {
  if (requests == 0 || ejection_.failures_in_a_row == 1) return;
  const auto active = std::ranges::count_if(
      caller.instances, [now](const Instance& instance) { return IsActive(instance, now); });
  const double spared =
      std::pow(1 - 1 / static_cast<double>(active), static_cast<double>(requests));
  for (Instance& instance : caller.instances) {
    if (instance.failures_in_a_row > 0 && !Happens(spared, random_)) instance.failures_in_a_row = 0;
  }
}

stats::EjectionTick& EjectedStream::TickAt(double now, EjectedSecond& second) {
  return now < now_ + 1 ? second.tick : carried_;
}

// A retry, at whatever is in service by then.
bool EjectedStream::FailsAgain(Caller& caller, double now, bool hopeless, EjectedSecond& second) {
  stats::EjectionTick& tick = TickAt(now, second);
  if (Happens(Finds(caller, now), random_)) {
    Instance& instance = AnyActive(caller, now);
    const bool fails = hopeless || Happens(CanaryRate(now), random_);
    tick.canary += {1, fails};
    second.absorbed += fails;
    if (fails) {
      Fail(instance, now);
    } else {
      instance.failures_in_a_row = 0;
    }
    return fails;
  }
  const bool fails = hopeless || Happens(PrimaryRate(now), random_);
  tick.primary += {1, fails};
  return fails;
}

void EjectedStream::FailAtCanary(Caller& caller, double now, EjectedSecond& second) {
  const std::int64_t absorbed = second.absorbed;
  second.tick.canary += {1, 1};
  ++second.absorbed;
  Fail(AnyActive(caller, now), now);
  const bool hopeless = Happens(ejection_.hopeless, random_);
  bool fails = true;
  for (int retry = 1; retry <= kRetries && fails && ejection_.retried; ++retry) {
    fails = FailsAgain(caller, now + retry * kRetryAfterSeconds, hopeless, second);
    repeats_ += fails ? 1 : 0;
  }
  if (!fails) return;
  ++second.failed;
  second.absorbed = absorbed;
}

void EjectedStream::ServePrimary(double mean, double rate, EjectedSecond& second) {
  const std::int64_t requests = Poisson(mean, random_);
  std::int64_t failed = Binomial(requests, rate, random_);
  second.requests += requests;
  second.tick.primary += {requests, failed};  // its own retries are taken out
  const std::int64_t hopeless = Binomial(failed, ejection_.hopeless, random_);
  failed -= hopeless;
  for (int retry = 1; retry <= kRetries && ejection_.retried; ++retry) {
    failed = Binomial(failed, rate, random_);
  }
  second.failed += failed + hopeless;
}

void EjectedStream::Sweep(Caller& caller, double now) const {
  for (Instance& instance : caller.instances) {
    if (!instance.ejected) {
      instance.backoff = std::max(0, instance.backoff - 1);
      continue;
    }
    const double lasts =
        std::min(ejection_.base_seconds * std::max(1, instance.backoff), kMostEjectedSeconds);
    if (now >= instance.ejected_at + lasts) instance.ejected = false;
  }
  caller.next_sweep += kSweepSeconds;
}

void EjectedStream::Change(Caller& caller, double now) const {
  for (Instance& instance : caller.instances) {
    if (!instance.stops || instance.stops_at > now) continue;
    instance.stops = false;
    instance.ejected = true;
    instance.ejected_at = instance.stops_at;
    ++instance.backoff;
  }
  if (caller.next_sweep <= now) Sweep(caller, now);
}

// The next moment at which rates or instances are not what they are now.
double EjectedStream::NextChange(const Caller& caller, double now) const {
  double next = std::min(now_ + 1, caller.next_sweep);
  for (const Instance& instance : caller.instances) {
    if (instance.stops) next = std::min(next, instance.stops_at);
  }
  for (const double at : {burst_from_, burst_until_, traffic_.fault.after_seconds}) {
    if (at > now) next = std::min(next, at);
  }
  return next;
}

void EjectedStream::Serve(Caller& caller, double share, EjectedSecond& second) {
  const double rate = traffic_.requests_per_second / ejection_.callers;
  for (double now = now_; now < now_ + 1;) {
    Change(caller, now);
    const double to_canary = rate * share * Finds(caller, now);
    const double canary_rate = CanaryRate(now);
    double until = NextChange(caller, now);
    bool fails = false;
    if (to_canary * canary_rate > 0) {
      const double first = now + Exponential(1 / (to_canary * canary_rate), random_);
      fails = first < until;
      until = std::min(first, until);
    }
    const std::int64_t succeeded = Poisson(to_canary * (1 - canary_rate) * (until - now), random_);
    Succeed(caller, succeeded, now);
    second.tick.canary.completed += succeeded;
    second.requests += succeeded + fails;
    ServePrimary((rate - to_canary) * (until - now), PrimaryRate(now), second);
    if (fails) FailAtCanary(caller, until, second);
    now = until;
  }
}

EjectedSecond EjectedStream::Play(double weight_ratio) {
  if (traffic_.common_burst > 1 && now_ >= burst_until_ && Happens(kBurstChance, random_)) {
    const bool whole = traffic_.common_burst_seconds == 1;
    burst_from_ = now_ + (whole ? 0 : Uniform(0, 1, random_));
    burst_until_ = burst_from_ + traffic_.common_burst_seconds;
  }
  EjectedSecond second;
  second.tick = std::exchange(carried_, {});
  second.tick.weight_ratio = weight_ratio;
  second.tick.retried = ejects_ && ejection_.retried;
  second.tick.failures_in_a_row = ejection_.failures_in_a_row;
  second.tick.active_instances = 0;
  for (Caller& caller : callers_) {
    Change(caller, now_);
    for (const Instance& instance : caller.instances) {
      second.tick.active_instances += instance.ejected ? 0 : 1;
    }
  }
  const double share = std::clamp(weight_ratio * traffic_.share_factor, 0.0, 1.0);
  for (Caller& caller : callers_) Serve(caller, share, second);
  now_ += 1;
  return second;
}

EjectedSecond EjectedStream::Next(double weight_ratio) {
  EjectedSecond second = Play(weight_ratio);
  if (ejection_.told_early) std::swap(second, held_);
  second.repeats = stats::LeaveOutRetries(repeats_pending_, std::exchange(repeats_, 0),
                                          second.tick.canary.failures - 1);
  return second;
}

}  // namespace consul_canary::simulation
