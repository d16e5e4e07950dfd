// The instances of one subset: whose bad seconds and stalls clump failures and slow requests.
#pragma once

#include <string>
#include <vector>

#include "analyzer/stats/counts.h"
#include "analyzer/stats/latency.h"
#include "tests/simulation/draws.h"
#include "tests/simulation/traffic.h"

namespace consul_canary::simulation {

struct Instance {
  std::string name;
  double bad_until = 0;    // seconds since the stream began
  double stalls_from = 0;  // within the present second
  double stalled_until = 0;
  stats::Counts counts;          // attempts of this second at its own sidecar
  std::int64_t untimed = 0;      // requests since the histograms moved last
  stats::LatencyCounts stalled;  // of these, those that a stall held up
};

class Instances {
 public:
  Instances(const std::string& prefix, int count, const Traffic& traffic);

  // A second begins: some turn bad or stall, all counts are 0.
  void BeginSecond(double now, Random& random);

  // `mean` requests are expected at each of them; what callers count of them. Failures of an
  // instance that is not bad: `rate`.
  [[nodiscard]] stats::Counts Serve(double mean, double rate, Random& random);

  // What the sidecars' histograms have added since the last time, one for each instance.
  [[nodiscard]] std::vector<stats::LatencyCounts> Flush(Random& random);

  [[nodiscard]] double RateOf(const Instance& instance, double rate) const;
  [[nodiscard]] const std::vector<Instance>& all() const { return all_; }

 private:
  void SpreadRetries(std::int64_t extra, std::size_t first, Random& random);
  void HoldUp(Instance& instance, std::int64_t served, Random& random);

  const Traffic& traffic_;  // of the stream that owns this
  double now_ = 0;
  std::vector<Instance> all_;
};

}  // namespace consul_canary::simulation
