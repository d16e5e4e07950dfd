// One subset's requests one by one, where their time matters: what is still under way at a reading
// betrays those that hang.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/latency.h"
#include "exporter/envoy/outcomes.h"
#include "tests/simulation/draws.h"
#include "tests/simulation/instances.h"
#include "tests/simulation/traffic.h"

namespace consul_canary::simulation {

// A time in which nothing is answered.
struct Hang {
  double from = 0;
  double until = 0;
};

class InFlight {
 public:
  explicit InFlight(const Traffic& traffic);

  // A second's requests at the subset's instances, where `mean` are expected at each. What is
  // answered within the second.
  [[nodiscard]] stats::Counts Serve(double now, double mean, double rate, const Fault& fault,
                                    const Hang& hang, const Instances& instances, Random& random);

  // At the second's end.
  [[nodiscard]] envoy::FlightReading Read() const { return {completed_, under_way_.size()}; }

  // What the histogram has added since the last time.
  [[nodiscard]] stats::LatencyCounts Flush();

 private:
  struct Request {
    double ends = 0;
    double seconds = 0;
    bool answered = true;
    bool fails = false;

    bool operator>(const Request& other) const { return ends > other.ends; }
  };

  void Start(double now, const Instance& instance, double rate, const Fault& fault,
             const Hang& hang, Random& random);

  const Traffic& traffic_;  // of the stream that owns this
  std::priority_queue<Request, std::vector<Request>, std::greater<>> under_way_;
  std::uint64_t completed_ = 0;
  stats::LatencyCounts histogram_;
};

}  // namespace consul_canary::simulation
