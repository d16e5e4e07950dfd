// The traffic of one service behind a shield, second by second: a canary whose instances are
// ejected when they fail. Within a second everything happens at its own moment, since what the
// canary gets of it depends on when it fails.
//
// Of Traffic it knows the rates, the number of canary instances, common bursts, share_factor, when
// the fault comes and its excess, and ejection; nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "analyzer/stats/ejection.h"
#include "tests/simulation/draws.h"
#include "tests/simulation/traffic.h"

namespace consul_canary::simulation {

// weight_ratio of the tick is what was asked for, active_instances what was in service at its
// beginning, over all callers.
struct EjectedSecond {
  stats::EjectionTick tick;

  // With the canary's repeats left out, and at least or at most so many of its failures.
  [[nodiscard]] stats::EjectionTick AtLeast() const;
  [[nodiscard]] stats::EjectionTick AtMost() const;

  std::int64_t requests = 0;  // of callers
  std::int64_t failed = 0;    // of them, after all retries
  std::int64_t repeats = 0;   // attempts of the canary that failed after another of the request
  std::int64_t absorbed = 0;  // failed attempts of the canary that no caller noticed
};

class EjectedStream {
 public:
  // Without traffic.ejection nothing is ejected and nothing retried.
  EjectedStream(const Traffic& traffic, Random random);

  // The primary's record before the rollout: 30000 requests.
  [[nodiscard]] const stats::Counts& history() const { return history_; }

  // The next second, with this share of the requests meant for the canary.
  // With told_early: the one before, with what the callers tell by now.
  [[nodiscard]] EjectedSecond Next(double weight_ratio);

 private:
  struct Instance {
    bool ejected = false;
    double stops_at = 0;  // where it has failed and is not ejected yet
    bool stops = false;
    double ejected_at = 0;
    int backoff = 0;  // how often of late
    int failures_in_a_row = 0;
  };
  struct Caller {
    std::vector<Instance> instances;
    double next_sweep = 0;
  };

  [[nodiscard]] EjectedSecond Play(double weight_ratio);
  void Serve(Caller& caller, double share, EjectedSecond& second);
  [[nodiscard]] double NextChange(const Caller& caller, double now) const;
  void Change(Caller& caller, double now) const;
  void Sweep(Caller& caller, double now) const;
  void ServePrimary(double mean, double rate, EjectedSecond& second);
  void FailAtCanary(Caller& caller, double now, EjectedSecond& second);
  [[nodiscard]] bool FailsAgain(Caller& caller, double now, bool hopeless, EjectedSecond& second);
  void Fail(Instance& instance, double now) const;
  // So many requests in service, each at any instance.
  void Succeed(Caller& caller, std::int64_t requests, double now);
  [[nodiscard]] static bool IsActive(const Instance& instance, double now);
  // Chance that a request meant for the canary finds an instance of it.
  [[nodiscard]] double Finds(const Caller& caller, double now) const;
  [[nodiscard]] Instance& AnyActive(Caller& caller, double now);
  // Where an attempt counts: in this second or, for a retry that comes after it, in the next.
  [[nodiscard]] stats::EjectionTick& TickAt(double now, EjectedSecond& second);
  [[nodiscard]] double PrimaryRate(double now) const;
  [[nodiscard]] double CanaryRate(double now) const;

  const Traffic traffic_;
  const bool ejects_;
  const Ejection ejection_;
  Random random_;
  stats::Counts history_;
  double now_ = 0;
  double burst_from_ = -1;
  double burst_until_ = -1;
  std::vector<Caller> callers_;
  stats::EjectionTick carried_;  // retries that belong to the second that comes next
  std::int64_t repeats_ = 0;     // of this second, as the callers count them
  std::int64_t repeats_pending_ = 0;
  EjectedSecond held_;
};

}  // namespace consul_canary::simulation
