// What happens to the requests of one simulated service.
#pragma once

#include <optional>

namespace consul_canary::simulation {

enum class Drift {
  kNone,
  kSine,   // the common rate swings between 1/5 and 9/5 of itself, once in 15 minutes
  kSteps,  // every 10 minutes another common rate, between 1/3 and 5 times the first
};

// Now and then an instance, of either subset alike, has bad seconds: a healthy canary's as often as
// the primary's.
struct PodBursts {
  double per_hour = 0;  // of one instance
  double mean_seconds = 8;
  double failure_ratio = 0.3;  // of its requests meanwhile
};

// A request that fails does so at each of this many attempts, one after the other.
struct RetryClusters {
  int attempts = 1;
  bool same_instance = true;  // else each attempt goes to any instance of the subset
  bool judged = true;         // outcomes: attempts; else first-try, which only the instances exceed
};

// Time of a request: log-normal. Histograms move every five seconds, as Envoy's.
struct Latency {
  double median_seconds = 0.045;
  double sigma = 1.0;
  double stalls_per_hour = 0;  // of one instance: nothing leaves it for `stall_seconds`
  double stall_seconds = 0.3;
  // Of all at once, primary and canary: what begins meanwhile ends with it at the earliest.
  double common_hangs_per_hour = 0;
  double common_hang_seconds = 3;
  double cold_seconds = 0;  // so long after its first, the canary's requests take .6 s more
};

// What sets the canary apart, from `after_seconds` of its first step on.
struct Fault {
  double after_seconds = 0;
  double excess = 0;         // its failure ratio is the primary's of that moment, plus this
  double slower = 1;         // its requests take this many times as long
  double slower_by = 0;      // … and seconds more
  double hang_ratio = 0;     // of its requests are never answered; callers give up after 15 s
  double timeout_ratio = 0;  // of its requests fail, but only after 15 s, at the route's timeout
};

// The shield: each caller ejects an instance of the canary that fails, and whatever finds no
// instance goes to the primary. See EjectedStream.
struct Ejection {
  int callers = 1;            // each ejects for itself
  int failures_in_a_row = 1;  // of an instance, for its ejection
  double base_seconds = 3;  // an ejection lasts so long, times how often of late, and until a sweep
  double lag_seconds = .01;  // from the failed answer until nothing more is sent to the instance
  bool retried = true;       // what failed is tried again, three times at most, 25 ms later each
};

struct Traffic {
  double requests_per_second = 100;
  // A second's number of requests is negative binomial: its variance is 1 + rate times Poisson's.
  bool bursty_arrivals = false;
  double failure_ratio = 0.001;  // of the primary, without drift and bursts
  Drift drift = Drift::kNone;
  // One second in fifty is an outage that both subsets share: the rate is then this many times as
  // high.
  double common_burst = 1;
  double common_burst_seconds =
      1;  // others than 1 where there is ejection: it begins at any moment
  int primary_instances = 10;
  int canary_instances = 1;
  bool instances_known = true;  // whether the primary's can be told apart
  PodBursts pod_bursts;
  RetryClusters retries;
  // Four callers, each of which loses its counters so often; its tick is dropped for both subsets.
  double resets_per_hour = 0;
  // What the analyzer knows of the route's timeout. 0: what fails does so at once.
  double request_timeout_seconds = 0;
  double share_factor = 1;  // the canary's share of the requests over its weight
  std::optional<Latency> latency;
  std::optional<Ejection> ejection;  // then only what EjectedStream knows of
  Fault fault;
};

}  // namespace consul_canary::simulation
