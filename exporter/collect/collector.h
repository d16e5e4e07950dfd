// Keeps a MeshSnapshot current: blocking queries on Consul, one scrape of each sidecar an interval.
// It is published once a round and with each change in Consul; between two, nothing is copied.
// Lives on an IoLoop; readers on other threads take the newest snapshot.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "exporter/collect/snapshot.h"
#include "exporter/collect/static_targets.h"
#include "exporter/consul/client.h"

namespace consul_canary::collect {

struct CollectorOptions {
  base::milliseconds interval{1000};       // between two scrapes of the same sidecar
  base::milliseconds scrape_timeout{900};  // connecting included
  // A whole page, where the filter is ignored, has 5 to 7 MB.
  std::size_t max_page_bytes = 8u << 20u;
};

// Counts for the scrape-health metrics. Cumulative.
struct ScrapeStats {
  // connect (nobody took the connection), timeout, broken (closed before its end, or no HTTP),
  // status (redirects too), size, content-type, parse.
  std::map<std::string, std::uint64_t> errors_by_reason;
  std::map<double, std::uint64_t> duration_buckets;  // seconds → cumulative count
  double duration_sum_seconds = 0;
  std::uint64_t scrapes = 0;
};

class Collector {
 public:
  // Constructed and destroyed while the loop does not run, or on its thread. Start() begins the
  // watches.
  Collector(consul::Client& client, CollectorOptions options);
  ~Collector();

  void Start();

  // Services to follow although they have no splitter (yet). Any thread.
  void Follow(std::set<std::string> services);

  // Sidecars that a file names, in place of those of an earlier file. Any thread.
  void SetStaticTargets(StaticTargets targets);

  // Any thread; never null.
  [[nodiscard]] std::shared_ptr<const MeshSnapshot> Latest() const;
  [[nodiscard]] ScrapeStats scrape_stats() const;

  // Called on the loop's thread whenever a newer snapshot has been published because Consul said
  // something new (not for each scrape round). For reacting at once to a canary that is gone.
  void OnConsulChange(std::function<void()> callback);

  // Called on the loop's thread with every snapshot that is published, so that none of what the
  // sidecars counted is missed; Latest() gives it already. Set before Start().
  void OnPublish(std::function<void(const MeshSnapshot&)> callback);

  // Called on the loop's thread once an interval, after its snapshot has been published: the moment
  // to look at what was counted. A round holds one reading of every sidecar that answers, taken
  // within the interval before: up to Scraper::kReadTogether sidecars are read together, and the
  // round is over as soon as they have answered; more are read one after another over nine tenths
  // of the interval. Each is read at the same moment of every interval, so what lies between two of
  // its readings is one interval. One that failed last time is not waited for: what it says when it
  // answers again is in the next snapshot. While sidecars are few, one that appears is read in a
  // short round of its own. Set before Start().
  void OnRound(std::function<void()> callback);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace consul_canary::collect
