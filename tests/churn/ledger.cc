#include "tests/churn/ledger.h"

#include <algorithm>
#include <utility>

namespace consul_canary::churn {
namespace {

bool IsFailure(int status) { return status >= 500; }

}  // namespace

void Outcome::Add(const Request& request) {
  ++requests;
  attempts += request.attempts.size();
  failed_attempts += static_cast<std::uint64_t>(
      std::count_if(request.attempts.begin(), request.attempts.end(), IsFailure));
  if (IsFailure(request.attempts.front())) ++first_failures;
  if (IsFailure(request.attempts.back())) ++final_failures;
  ++codes[request.attempts.back()];
}

Outcome& Outcome::operator+=(const Outcome& other) {
  requests += other.requests;
  first_failures += other.first_failures;
  final_failures += other.final_failures;
  attempts += other.attempts;
  failed_attempts += other.failed_attempts;
  for (const auto& [code, count] : other.codes) codes[code] += count;
  return *this;
}

void Ledger::Serve(const Place& place, const std::vector<Request>& requests) {
  Cluster& cluster = At(place);
  for (const Request& request : requests) {
    cluster.unread.Add(request);
    cluster.unflushed.Add(request.milliseconds);
  }
}

void Ledger::Flush(const Place& place) {
  Cluster& cluster = At(place);
  cluster.unread_times += std::exchange(cluster.unflushed, {});
}

void Ledger::Restart(const std::string& sidecar) {
  for (auto& [name, service] : services_) {
    const auto found = service.sidecars.find(sidecar);
    if (found == service.sidecars.end()) continue;
    for (auto& [subset, cluster] : found->second.clusters) {
      cluster.unread = {};
      cluster.unflushed = cluster.unread_times = {};
      cluster.restarted = cluster.had_counted;
    }
  }
}

void Ledger::Rebuild(const Place& place) {
  Cluster& cluster = At(place);
  cluster.unflushed = cluster.unread_times = {};
  cluster.restarted = cluster.had_counted;
}

void Ledger::Move(const Place& from, const Place& to) {
  At(to).unflushed = std::exchange(At(from).unflushed, {});
}

void Ledger::Read(const std::string& service_name, const std::string& sidecar_id,
                  const Shown& shown, base::MonotonicTime now) {
  Service& service = services_[service_name];
  Sidecar& sidecar = service.sidecars[sidecar_id];
  const bool is_first = !std::exchange(sidecar.is_known, true);
  sidecar.known_at = now;
  bool is_dropped = is_first;
  for (const auto& [subset, counts] : shown) {
    is_dropped = is_dropped || sidecar.clusters[subset].restarted;
  }
  for (const auto& [subset, counts] : shown) {
    Cluster& cluster = sidecar.clusters[subset];
    const Outcome read = std::exchange(cluster.unread, {});
    const Times times = std::exchange(cluster.unread_times, {});
    const bool keeps_times = times_ == TimesOf::kAllReadings ? !is_first : !is_dropped;
    if (!is_dropped) service.counted[subset].outcome += read;
    if (keeps_times) service.counted[subset].times += times;
    cluster.had_counted = counts;
    cluster.restarted = false;
  }
}

bool Ledger::Knows(const std::string& service, const std::string& sidecar) const {
  const auto found = services_.find(service);
  if (found == services_.end()) return false;
  const auto known = found->second.sidecars.find(sidecar);
  return known != found->second.sidecars.end() && known->second.is_known;
}

void Ledger::Forget(Sidecar& sidecar) {
  sidecar.is_known = false;
  for (auto& [subset, cluster] : sidecar.clusters) {
    cluster.had_counted = cluster.restarted = false;
  }
}

void Ledger::ForgetAllBut(const std::string& service, const std::set<std::string>& sidecars) {
  for (auto& [id, sidecar] : services_[service].sidecars) {
    if (!sidecars.contains(id)) Forget(sidecar);
  }
}

void Ledger::ForgetUnreadSince(base::MonotonicTime time) {
  for (auto& [name, service] : services_) {
    for (auto& [id, sidecar] : service.sidecars) {
      if (sidecar.is_known && sidecar.known_at < time) Forget(sidecar);
    }
  }
}

void Ledger::RemoveSidecar(const std::string& sidecar) {
  for (auto& [name, service] : services_) service.sidecars.erase(sidecar);
}

const std::map<std::string, Counted>& Ledger::Of(const std::string& service) const {
  static const std::map<std::string, Counted> kNothing;
  const auto found = services_.find(service);
  return found == services_.end() ? kNothing : found->second.counted;
}

}  // namespace consul_canary::churn
