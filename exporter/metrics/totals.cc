#include "exporter/metrics/totals.h"

#include <algorithm>
#include <utility>

namespace consul_canary::metrics {
namespace {

// Until then a sidecar that left Consul may come back and go on counting from where it was.
constexpr base::seconds kForgetAfter{600};

envoy::OutcomeCounters AllCodes(const envoy::SubsetCounters& counters) {
  envoy::OutcomeCounters outcomes = envoy::ToOutcomeCounters(counters);
  outcomes.responses = counters.responses;
  return outcomes;
}

std::uint64_t CountUpTo(const envoy::Histogram& histogram, double bound) {
  const auto next = histogram.buckets.upper_bound(bound);
  return next == histogram.buckets.begin() ? 0 : std::prev(next)->second;
}

}  // namespace

envoy::Histogram NewSince(const envoy::Histogram& later, const envoy::Histogram& earlier) {
  const bool restarted =
      later.count < earlier.count || later.sum_ms < earlier.sum_ms ||
      std::any_of(earlier.buckets.begin(), earlier.buckets.end(), [&later](const auto& bucket) {
        const auto it = later.buckets.find(bucket.first);
        return it == later.buckets.end() || it->second < bucket.second;
      });
  if (restarted) return later;
  envoy::Histogram added = later;
  added.count -= earlier.count;
  added.sum_ms -= earlier.sum_ms;
  for (auto& [bound, count] : added.buckets) {
    const auto it = earlier.buckets.find(bound);
    if (it != earlier.buckets.end()) count -= it->second;
  }
  return added;
}

void AddHistogram(const envoy::Histogram& from, envoy::Histogram& to) {
  std::map<double, std::uint64_t> sum;
  for (const auto& [bound, count] : from.buckets) sum[bound] = count + CountUpTo(to, bound);
  for (const auto& [bound, count] : to.buckets) sum[bound] = count + CountUpTo(from, bound);
  to.buckets = std::move(sum);
  to.sum_ms += from.sum_ms;
  to.count += from.count;
}

void Totals::Observe(const collect::MeshSnapshot& snapshot) {
  const auto is_gone = [&snapshot](const auto& item) {
    return !snapshot.services.contains(item.first);
  };
  std::erase_if(services_, is_gone);
  std::erase_if(totals_, is_gone);
  for (const auto& [name, service] : snapshot.services) {
    ObserveService(*service, snapshot.taken_at);
  }
}

std::vector<Totals::Reading> Totals::ReadingsOf(const collect::ServiceSnapshot& snapshot) {
  std::vector<Reading> readings;
  if (!snapshot.resolver || !snapshot.resolver->has_failover) {
    for (const collect::CallerReading& caller : snapshot.callers) {
      if (caller.scraped_at) readings.push_back({caller.id, caller.subsets});
    }
    return readings;
  }
  for (const collect::ServerReading& server : snapshot.servers) {
    if (!server.scraped_at || !server.local_app) continue;
    for (const std::string& subset : server.subsets) {
      // An instance that changes its subset must not bring its past along, so it counts as new
      // there.
      readings.push_back({server.id + " in " + subset, {{subset, *server.local_app}}});
    }
  }
  return readings;
}

void Totals::ObserveService(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now) {
  Service& service = services_[snapshot.service];
  Subsets& totals = totals_[snapshot.service];
  std::map<std::string, envoy::SubsetOutcomes> outcomes;
  for (const Reading& reading : ReadingsOf(snapshot)) {
    service.last_seen[reading.id] = now;
    envoy::SubsetOutcomes& counted = outcomes[reading.id];
    for (const auto& [subset, counters] : reading.subsets) counted[subset] = AllCodes(counters);
    AddTimes(reading, service, totals);
  }
  const envoy::TickOutcomes tick = envoy::Advance(service.baselines, outcomes);
  for (const auto& [subset, added] : tick.by_subset) totals[subset].outcomes += added;
  Forget(service, now);
}

void Totals::AddTimes(const Reading& reading, Service& service, Subsets& totals) {
  const auto [sidecar, is_new] = service.times.try_emplace(reading.id);
  for (const auto& [subset, counters] : reading.subsets) {
    envoy::Histogram& last = sidecar->second.by_subset[subset];
    // Unchanged between two of Envoy's flushes, so most of the time there is nothing to add.
    if (!is_new && counters.request_time != last) {
      AddHistogram(NewSince(counters.request_time, last), totals[subset].request_time);
    }
    last = counters.request_time;
    // A subset that a known sidecar did not show before starts from 0.
    Troubles& earlier = sidecar->second.troubles[subset];
    if (!is_new) AddNew(TroublesOf(counters), earlier, totals[subset].troubles);
    earlier = TroublesOf(counters);
  }
}

void Totals::Forget(Service& service, base::MonotonicTime now) {
  for (auto it = service.last_seen.begin(); it != service.last_seen.end();) {
    if (now - it->second <= kForgetAfter) {
      ++it;
      continue;
    }
    service.baselines.erase(it->first);
    service.times.erase(it->first);
    it = service.last_seen.erase(it);
  }
}

}  // namespace consul_canary::metrics
