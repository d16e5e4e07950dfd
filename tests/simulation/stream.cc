#include "tests/simulation/stream.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/simulation/latencies.h"

namespace consul_canary::simulation {
namespace {

constexpr std::int64_t kHistoryRequests = 30000;
constexpr double kGammaShape = 1;
constexpr double kBurstChance = 0.02;
constexpr double kSinePeriodSeconds = 900;
constexpr double kSineAmplitude = 0.8;
constexpr int kStepSeconds = 600;
constexpr double kLeastStep = 1.0 / 3;
constexpr double kGreatestStep = 5;
constexpr int kCallers = 4;
constexpr double kSecondsPerHour = 3600;
constexpr int kFlushSeconds = 5;
constexpr double kColdSeconds = 0.6;

bool MayHang(const Traffic& traffic) {
  return traffic.latency && traffic.latency->common_hangs_per_hour > 0;
}

}  // namespace

Stream::Stream(const Traffic& traffic, Random random)
    : traffic_(traffic),
      random_(random),
      history_{kHistoryRequests, Binomial(kHistoryRequests, traffic.failure_ratio, random_)},
      primary_("primary-", traffic.primary_instances, traffic_),
      canary_("canary-", traffic.canary_instances, traffic_),
      in_flight_(traffic_),
      primary_in_flight_(traffic_) {
  if (traffic_.ejection) {
    ejected_.emplace(traffic_, Random(random_()));
    shield_ = rollout::ShieldView{.ejecting = traffic_.canary_instances,
                                  .retried = traffic_.ejection->retried,
                                  .failures_in_a_row = traffic_.ejection->failures_in_a_row};
  }
  if (traffic_.latency) {
    latency_history_ = Histogram(*traffic_.latency, kHistoryRequests, random_);
  }
}

bool Stream::IsAtFault() const { return now_ - canary_since_ >= traffic_.fault.after_seconds; }

double Stream::DriftFactor() {
  if (traffic_.drift == Drift::kSine) {
    const double turns = now_ / kSinePeriodSeconds;
    return 1 + kSineAmplitude * std::sin(2 * std::numbers::pi * turns);
  }
  if (traffic_.drift == Drift::kSteps && now_ > 0 && std::fmod(now_, kStepSeconds) == 0) {
    step_factor_ = std::exp(Uniform(std::log(kLeastStep), std::log(kGreatestStep), random_));
  }
  return step_factor_;
}

double Stream::CommonRate() {
  double rate = traffic_.failure_ratio * DriftFactor();
  if (traffic_.common_burst > 1 && Happens(kBurstChance, random_)) rate *= traffic_.common_burst;
  return std::min(1.0, rate);
}

void Stream::ServePrimary(double requests, double dropped_ratio, double rate,
                          rollout::TickCounts& tick) {
  const double each = requests / traffic_.primary_instances;
  if (MayHang(traffic_)) {
    tick.primary.low = primary_in_flight_.Serve(now_, each, rate, {}, hang_, primary_, random_);
    tick.primary.high = tick.primary.low;
    return;
  }
  tick.primary.low = primary_.Serve(each * (1 - dropped_ratio), rate, random_);
  tick.primary.high = tick.primary.low;
  // The instances have served them all the same.
  if (dropped_ratio > 0) {
    static_cast<void>(primary_.Serve(each * dropped_ratio, rate, random_));
  }
  if (!traffic_.instances_known) return;
  for (const Instance& instance : primary_.all()) {
    tick.primary_instances.emplace_back(instance.name, instance.counts);
  }
}

void Stream::ServeCanary(double requests, double dropped_ratio, double rate,
                         double late_after_seconds, rollout::TickCounts& tick) {
  Fault fault = IsAtFault() ? traffic_.fault : Fault{};
  if (traffic_.latency && now_ - canary_since_ < traffic_.latency->cold_seconds) {
    fault.slower_by = kColdSeconds;
  }
  const double each = requests / traffic_.canary_instances * (1 - dropped_ratio);
  const double canary_rate = std::min(1.0, rate + fault.excess);
  if (traffic_.latency) {
    tick.canary.low = in_flight_.Serve(now_, each, canary_rate, fault, hang_, canary_, random_);
    tick.canary.late = ReadLate(late_after_seconds);
  } else {
    tick.canary.low = canary_.Serve(each, canary_rate, random_);
  }
  tick.canary.high = tick.canary.low;
}

void Stream::BeginHang() {
  if (!MayHang(traffic_) || now_ < hang_.until) return;
  if (!Happens(traffic_.latency->common_hangs_per_hour / kSecondsPerHour, random_)) return;
  hang_.from = now_ + Uniform(0, 1, random_);
  hang_.until = hang_.from + traffic_.latency->common_hang_seconds;
}

// As control::TakeCounts does for the one caller that this stream is.
stats::LateCounts Stream::ReadLate(double late_after_seconds) {
  const envoy::SubsetFlights reading{
      .at_seconds = now_ + 1, .canary = in_flight_.Read(), .primary = primary_in_flight_.Read()};
  if (late_after_seconds <= 0) {
    blocks_ = envoy::BeginLate(reading);
    return {};
  }
  const envoy::LateTick late = envoy::AdvanceLate(blocks_, reading, late_after_seconds);
  const auto counts = [](const envoy::LateOutcomes& outcomes) {
    return stats::LateCounts{static_cast<std::int64_t>(outcomes.started),
                             static_cast<std::int64_t>(outcomes.late)};
  };
  const bool both =
      stats::HasLongRequests({.late = counts(late.primary),
                              .seconds = late.seconds,
                              .under_way = static_cast<double>(late.primary_active),
                              .mean_seconds = stats::MeanSecondsAtMost(latency_history_)});
  return both ? stats::LateCounts{} : counts(late.canary);
}

void Stream::Flush(rollout::TickCounts& tick) {
  tick.canary.latency = in_flight_.Flush();
  if (MayHang(traffic_)) {
    tick.primary.latency = primary_in_flight_.Flush();
    return;
  }
  tick.primary.latency = EmptyHistogram();
  const std::vector<stats::LatencyCounts> histograms = primary_.Flush(random_);
  for (std::size_t i = 0; i < histograms.size(); ++i) {
    tick.primary.latency += histograms[i];
    if (!traffic_.instances_known) continue;
    tick.primary_instance_latency.emplace_back(primary_.all()[i].name, histograms[i]);
  }
}

rollout::TickCounts Stream::NextBehindShield(double weight_ratio) {
  const EjectedSecond second = ejected_->Next(weight_ratio);
  const auto active = static_cast<int>(second.tick.active_instances);
  const int all = traffic_.canary_instances * traffic_.ejection->callers;
  shield_->ejecting = active;
  shield_->ejected = static_cast<double>(all - active) / all;
  rollout::TickCounts tick;
  tick.primary.low = tick.primary.high = second.tick.primary;
  tick.canary.low = second.AtLeast().canary;
  tick.canary.high = second.AtMost().canary;
  tick.failed_for_callers = second.failed;
  now_ += 1;
  return tick;
}

rollout::TickCounts Stream::Next(double weight_ratio, double late_after_seconds) {
  if (ejected_) return NextBehindShield(weight_ratio);
  primary_.BeginSecond(now_, random_);
  canary_.BeginSecond(now_, random_);
  BeginHang();
  const double rate = CommonRate();
  const double burst = traffic_.bursty_arrivals ? Gamma(kGammaShape, random_) : 1;
  const double requests = traffic_.requests_per_second * burst;
  const double share = std::clamp(weight_ratio * traffic_.share_factor, 0.0, 1.0);
  const bool reset = Happens(kCallers * traffic_.resets_per_hour / kSecondsPerHour, random_);
  const double dropped_ratio = reset ? 1.0 / kCallers : 0;
  rollout::TickCounts tick;
  ServePrimary(requests * (1 - share), dropped_ratio, rate, tick);
  ServeCanary(requests * share, dropped_ratio, rate, late_after_seconds, tick);
  if (traffic_.latency && std::fmod(now_ + 1, kFlushSeconds) == 0) Flush(tick);
  now_ += 1;
  return tick;
}

}  // namespace consul_canary::simulation
