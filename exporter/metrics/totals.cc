#include "exporter/metrics/totals.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

namespace consul_canary::metrics {
namespace {

// Until then a sidecar that left Consul may come back and go on counting from where it was.
constexpr base::seconds kForgetAfter{600};
// Between an instance and its subset, in the key of its sidecar.
constexpr std::string_view kIn = " in ";

// Without the times, which are added up apart.
envoy::OutcomeCounters CountsOf(const envoy::SubsetCounters& counters) {
  envoy::OutcomeCounters counts;
  counts.completed = counters.completed;
  counts.retries = counters.retries;
  counts.retry_success = counters.retry_success;
  counts.responses = counters.responses;
  counts.retried_responses = counters.retried_responses;
  counts.grpc_statuses = counters.grpc_statuses;
  return counts;
}

std::uint64_t AnswersOf(const envoy::SubsetCounters& counters) {
  std::uint64_t answers = 0;
  for (const auto& [code, count] : counters.responses) answers += count;
  return answers;
}

void AddCodes(const std::map<int, std::uint64_t>& from, std::map<int, std::uint64_t>& to) {
  for (const auto& [code, count] : from) to[code] += count;
}

bool HaveSameBounds(const envoy::Histogram& one, const envoy::Histogram& other) {
  return std::equal(one.buckets.begin(), one.buckets.end(), other.buckets.begin(),
                    other.buckets.end(),
                    [](const auto& a, const auto& b) { return a.first == b.first; });
}

std::uint64_t CountUpTo(const envoy::Histogram& histogram, double bound) {
  const auto next = histogram.buckets.upper_bound(bound);
  return next == histogram.buckets.begin() ? 0 : std::prev(next)->second;
}

// What one sidecar has counted in each subset since `before`, which becomes what it has counted.
// Outcomes are missing where counters went down: a sidecar that restarted has lost, in all its
// subsets, what it counted since the last reading.
Totals::Subsets TakeNew(const std::map<std::string, Totals::Counters>& counted, bool is_new,
                        std::map<std::string, Totals::Counters>& before) {
  static const envoy::SubsetCounters kNothing;
  Totals::Subsets added;
  bool went_down = false;
  bool speaks_grpc = false;
  for (const auto& [subset, counters] : counted) {
    Totals::Counters& last = before[subset];
    // A subset that a known sidecar did not show before starts from 0.
    const envoy::SubsetCounters& earlier = last ? *last : kNothing;
    if (!is_new && last != counters) {
      SubsetTotals& more = added[subset];
      auto difference = envoy::Difference(CountsOf(*counters), CountsOf(earlier));
      went_down = went_down || !difference;
      if (difference) more.outcomes = *std::move(difference);
      // Unchanged between two of Envoy's flushes, so most of the time there is nothing to add.
      if (counters->request_time != earlier.request_time) {
        more.request_time = NewSince(counters->request_time, earlier.request_time);
      }
      AddNew(TroublesOf(*counters), TroublesOf(earlier), more.troubles);
    }
    last = counters;
    speaks_grpc = speaks_grpc || !counters->grpc_statuses.empty();
  }
  for (auto& [subset, more] : added) {
    if (went_down) {
      more.outcomes = {};
    } else if (speaks_grpc) {
      more.codes_of_calls = more.outcomes.responses;
      const envoy::SubsetCounters& now = *counted.at(subset);
      envoy::CountByStatus(more.outcomes, envoy::WithoutStatus(AnswersOf(now), now.grpc_statuses));
    }
  }
  return added;
}

// All but retries and troubles.
void AddOutcomes(const SubsetTotals& more, SubsetTotals& total) {
  total.outcomes += more.outcomes;
  AddCodes(more.codes_of_calls, total.codes_of_calls);
  if (more.request_time != envoy::Histogram()) AddHistogram(more.request_time, total.request_time);
}

bool HasFailover(const Totals::Counters& counters) { return counters && counters->has_failover; }

}  // namespace

std::map<int, std::uint64_t> ResponsesOf(const SubsetTotals& totals) {
  std::map<int, std::uint64_t> responses = totals.outcomes.responses;
  AddCodes(totals.codes_of_calls, responses);
  return responses;
}

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
  if (HaveSameBounds(from, to)) {
    auto more = from.buckets.begin();
    for (auto& [bound, count] : to.buckets) count += (more++)->second;
  } else {
    std::map<double, std::uint64_t> sum;
    for (const auto& [bound, count] : from.buckets) sum[bound] = count + CountUpTo(to, bound);
    for (const auto& [bound, count] : to.buckets) sum[bound] = count + CountUpTo(from, bound);
    to.buckets = std::move(sum);
  }
  to.sum_ms += from.sum_ms;
  to.count += from.count;
}

void Totals::Observe(const collect::MeshSnapshot& snapshot) {
  const auto is_gone = [&snapshot](const auto& item) {
    return !snapshot.services.contains(item.first);
  };
  std::erase_if(callers_, is_gone);
  std::erase_if(servers_, is_gone);
  std::erase_if(totals_, is_gone);
  std::erase_if(seen_by_callers_, is_gone);
  for (const auto& [name, service] : snapshot.services) {
    ObserveCallers(*service, snapshot.taken_at);
    if (service->resolver && service->resolver->has_failover) {
      ObserveServers(*service, snapshot.taken_at);
    } else {
      // From here on the callers count, so none of it may come back with another failover.
      servers_.erase(name);
    }
  }
}

void Totals::ObserveCallers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now) {
  const bool count_at_callers = !snapshot.resolver || !snapshot.resolver->has_failover;
  std::map<std::string, Sidecar>& sidecars = callers_[snapshot.service];
  Subsets& totals = totals_[snapshot.service];
  envoy::OutcomeCounters& seen = seen_by_callers_[snapshot.service];
  for (const collect::CallerReading& caller : snapshot.callers) {
    if (!caller.scraped_at) continue;
    const auto [it, is_new] = sidecars.try_emplace(caller.id);
    Sidecar& sidecar = it->second;
    sidecar.seen_at = now;
    if (!is_new && caller.subsets.IsSame(sidecar.last)) continue;
    sidecar.last = caller.subsets;
    std::map<std::string, Counters> counted;
    std::set<std::string_view> mixed;  // the sidecar's failover comes and goes after the resolver's
    for (const auto& [subset, counters] : caller.subsets) {
      counted.emplace(subset, Counters(caller.subsets.share(), &counters));
      const auto before = sidecar.by_subset.find(subset);
      const bool was_mixed = before != sidecar.by_subset.end() && HasFailover(before->second);
      if (counters.has_failover || was_mixed) mixed.insert(subset);
    }
    for (const auto& [subset, more] : TakeNew(counted, is_new, sidecar.by_subset)) {
      SubsetTotals& total = totals[subset];
      total.retries += more.outcomes.retries;
      total.saved += more.outcomes.retry_success;
      total.troubles += more.troubles;
      seen += more.outcomes;
      if (count_at_callers && !mixed.contains(subset)) AddOutcomes(more, total);
    }
  }
  std::erase_if(sidecars,
                [&](const auto& item) { return now - item.second.seen_at > kForgetAfter; });
}

void Totals::ObserveServers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now) {
  Servers& servers = servers_[snapshot.service];
  Subsets& totals = totals_[snapshot.service];
  for (const collect::ServerReading& server : snapshot.servers) {
    // Empty while a changed filter's answer is under way.
    if (!server.subsets.empty()) ForgetOtherSubsets(server, servers);
    if (!server.scraped_at || !server.local_app) continue;
    for (const std::string& subset : server.subsets) {
      // An instance that changes its subset must not bring its past along, so it counts as new
      // there.
      const auto [it, is_new] = servers.try_emplace(server.id + std::string(kIn) + subset);
      Sidecar& sidecar = it->second.sidecar;
      sidecar.seen_at = now;
      const Subsets added =
          TakeNew({{subset, server.local_app.share()}}, is_new, sidecar.by_subset);
      for (const auto& [own, more] : added) {
        AddOutcomes(more, totals[own]);
        AddOutcomes(more, it->second.counted);
      }
    }
  }
  std::erase_if(servers,
                [&](const auto& item) { return now - item.second.sidecar.seen_at > kForgetAfter; });
}

// What it counts in another subset must not be counted in this one when it comes back to it.
void Totals::ForgetOtherSubsets(const collect::ServerReading& server, Servers& servers) {
  for (auto it = servers.lower_bound(server.id);
       it != servers.end() && it->first.starts_with(server.id);) {
    const std::string_view rest = std::string_view(it->first).substr(server.id.size());
    if (!rest.starts_with(kIn) && rest > kIn) return;  // of other ids that begin like this one
    const bool is_elsewhere =
        rest.starts_with(kIn) &&
        std::ranges::find(server.subsets, rest.substr(kIn.size())) == server.subsets.end();
    it = is_elsewhere ? servers.erase(it) : std::next(it);
  }
}

const SubsetTotals* Totals::OfInstance(const std::string& service, const std::string& server_id,
                                       const std::string& subset) const {
  const auto servers = servers_.find(service);
  if (servers == servers_.end()) return nullptr;
  const auto server = servers->second.find(server_id + std::string(kIn) + subset);
  return server == servers->second.end() ? nullptr : &server->second.counted;
}

}  // namespace consul_canary::metrics
