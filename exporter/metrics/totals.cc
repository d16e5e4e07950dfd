#include "exporter/metrics/totals.h"

#include <algorithm>
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
  std::erase_if(sidecars_, is_gone);
  std::erase_if(totals_, is_gone);
  for (const auto& [name, service] : snapshot.services) {
    Sidecars& sidecars = sidecars_[name];
    if (service->resolver && service->resolver->has_failover) {
      ObserveServers(*service, snapshot.taken_at, sidecars, totals_[name]);
    } else {
      ObserveCallers(*service, snapshot.taken_at, sidecars, totals_[name]);
    }
    std::erase_if(sidecars, [&](const auto& item) {
      return snapshot.taken_at - item.second.seen_at > kForgetAfter;
    });
  }
}

void Totals::ObserveCallers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now,
                            Sidecars& sidecars, Subsets& totals) {
  for (const collect::CallerReading& caller : snapshot.callers) {
    if (!caller.scraped_at) continue;
    const auto [it, is_new] = sidecars.try_emplace(caller.id);
    it->second.seen_at = now;
    if (!is_new && caller.subsets.IsSame(it->second.last)) continue;
    it->second.last = caller.subsets;
    std::map<std::string, Counters> counted;
    for (const auto& [subset, counters] : caller.subsets) {
      counted.emplace(subset, Counters(caller.subsets.share(), &counters));
    }
    Advance(counted, is_new, it->second, totals);
  }
}

void Totals::ObserveServers(const collect::ServiceSnapshot& snapshot, base::MonotonicTime now,
                            Sidecars& sidecars, Subsets& totals) {
  for (const collect::ServerReading& server : snapshot.servers) {
    // Empty while a changed filter's answer is under way.
    if (!server.subsets.empty()) ForgetOtherSubsets(server, sidecars);
    if (!server.scraped_at || !server.local_app) continue;
    for (const std::string& subset : server.subsets) {
      // An instance that changes its subset must not bring its past along, so it counts as new
      // there.
      const auto [it, is_new] = sidecars.try_emplace(server.id + std::string(kIn) + subset);
      it->second.seen_at = now;
      Advance({{subset, server.local_app.share()}}, is_new, it->second, totals);
    }
  }
}

// What it counts in another subset must not be counted in this one when it comes back to it.
void Totals::ForgetOtherSubsets(const collect::ServerReading& server, Sidecars& sidecars) {
  for (auto it = sidecars.lower_bound(server.id);
       it != sidecars.end() && it->first.starts_with(server.id);) {
    const std::string_view rest = std::string_view(it->first).substr(server.id.size());
    if (!rest.starts_with(kIn) && rest > kIn) return;  // of other ids that begin like this one
    const bool is_elsewhere =
        rest.starts_with(kIn) &&
        std::ranges::find(server.subsets, rest.substr(kIn.size())) == server.subsets.end();
    it = is_elsewhere ? sidecars.erase(it) : std::next(it);
  }
}

void Totals::Advance(const std::map<std::string, Counters>& counted, bool is_new, Sidecar& sidecar,
                     Subsets& totals) {
  static const envoy::SubsetCounters kNothing;
  envoy::SubsetOutcomes differences;
  bool went_down = false;
  bool speaks_grpc = false;
  for (const auto& [subset, counters] : counted) {
    Counters& before = sidecar.by_subset[subset];
    // A subset that a known sidecar did not show before starts from 0.
    const envoy::SubsetCounters& earlier = before ? *before : kNothing;
    if (!is_new && before != counters) {
      const auto difference = envoy::Difference(CountsOf(*counters), CountsOf(earlier));
      went_down = went_down || !difference;
      if (difference) differences[subset] = *difference;
      // Unchanged between two of Envoy's flushes, so most of the time there is nothing to add.
      if (counters->request_time != earlier.request_time) {
        AddHistogram(NewSince(counters->request_time, earlier.request_time),
                     totals[subset].request_time);
      }
      AddNew(TroublesOf(*counters), TroublesOf(earlier), totals[subset].troubles);
    }
    before = counters;
    speaks_grpc = speaks_grpc || !counters->grpc_statuses.empty();
  }
  // A sidecar that restarted has lost, in all its subsets, what it counted since the last reading.
  if (went_down) return;
  for (auto& [subset, difference] : differences) {
    SubsetTotals& total = totals[subset];
    if (speaks_grpc) {
      AddCodes(difference.responses, total.codes_of_calls);
      const envoy::SubsetCounters& now = *counted.at(subset);
      envoy::CountByStatus(difference, envoy::WithoutStatus(AnswersOf(now), now.grpc_statuses));
    }
    total.outcomes += difference;
  }
}

}  // namespace consul_canary::metrics
