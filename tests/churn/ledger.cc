#include "tests/churn/ledger.h"

#include <algorithm>
#include <utility>

namespace consul_canary::churn {
namespace {

bool IsError(const Attempt& attempt) { return attempt.code >= 500; }

// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS; and what is none of
// gRPC's own, as UNKNOWN.
bool IsFailedCall(const Attempt& attempt) {
  static const std::set<int> kFailed{2, 4, 12, 13, 14, 15};
  if (!attempt.grpc_status) return IsError(attempt);
  return *attempt.grpc_status > 16 || kFailed.contains(*attempt.grpc_status);
}

void Add(const Request& request, bool (*is_failure)(const Attempt&), Outcome& to) {
  ++to.requests;
  to.attempts += request.attempts.size();
  to.failed_attempts += static_cast<std::uint64_t>(
      std::count_if(request.attempts.begin(), request.attempts.end(), is_failure));
  if (is_failure(request.attempts.front())) ++to.first_failures;
  if (is_failure(request.attempts.back())) ++to.final_failures;
}

}  // namespace

void Outcome::AddByCode(const Request& request) { Add(request, IsError, *this); }

void Outcome::AddByStatus(const Request& request) {
  const Attempt& last = request.attempts.back();
  if (!last.grpc_status && !IsError(last)) return;
  Add(request, IsFailedCall, *this);
  if (!last.grpc_status) return;
  ++statuses[*last.grpc_status];
  if (IsError(last)) ++status_errors;
}

Outcome& Outcome::operator+=(const Outcome& other) {
  requests += other.requests;
  first_failures += other.first_failures;
  final_failures += other.final_failures;
  attempts += other.attempts;
  failed_attempts += other.failed_attempts;
  status_errors += other.status_errors;
  for (const auto& [status, count] : other.statuses) statuses[status] += count;
  for (const auto& [code, count] : other.codes) codes[code] += count;
  return *this;
}

void Ledger::Begin(const Place& place, const Request& request) {
  Outcome& unread = At(place).unread_by_code;
  unread.AddByCode(request);
  ++unread.codes[request.attempts.back().code];
}

void Ledger::End(const Place& place, const Request& request) {
  Cluster& cluster = At(place);
  cluster.unread_by_status.AddByStatus(request);
  cluster.unflushed.Add(request.milliseconds);
  if (request.attempts.back().grpc_status) cluster.has_statuses = true;
}

void Ledger::Serve(const Place& place, const std::vector<Request>& requests) {
  for (const Request& request : requests) {
    Begin(place, request);
    End(place, request);
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
      cluster.unread_by_code = cluster.unread_by_status = {};
      cluster.has_statuses = false;
      cluster.unflushed = cluster.unread_times = {};
      cluster.restarted = cluster.had_counted;
    }
  }
}

void Ledger::Rebuild(const Place& place) {
  Cluster& cluster = At(place);
  cluster.has_statuses = false;
  cluster.unflushed = cluster.unread_times = {};
  cluster.restarted = cluster.had_counted;
}

void Ledger::Move(const Place& from, const Place& to) {
  const Times unflushed = At(from).unflushed;
  services_[from.service].sidecars.erase(from.sidecar);
  At(to).unflushed = unflushed;
}

// Something went down, or statuses appear where calls had ended without any.
bool Ledger::IsDropped(const Sidecar& sidecar, const Shown& shown) {
  return std::any_of(shown.begin(), shown.end(), [&sidecar](const auto& item) {
    const auto found = sidecar.clusters.find(item.first);
    if (found == sidecar.clusters.end()) return false;
    const Cluster& cluster = found->second;
    return cluster.restarted ||
           (cluster.has_statuses && cluster.had_counted && !cluster.had_statuses);
  });
}

void Ledger::Read(const std::string& service_name, const std::string& sidecar_id,
                  const Shown& shown, base::MonotonicTime now) {
  Service& service = services_[service_name];
  Sidecar& sidecar = service.sidecars[sidecar_id];
  const bool is_first = !std::exchange(sidecar.is_known, true);
  sidecar.known_at = now;
  const bool is_dropped = is_first || IsDropped(sidecar, shown);
  const bool speaks_grpc = std::any_of(shown.begin(), shown.end(), [&sidecar](const auto& item) {
    return sidecar.clusters[item.first].has_statuses;
  });
  for (const auto& [subset, counts] : shown) {
    Cluster& cluster = sidecar.clusters[subset];
    const Outcome by_code = std::exchange(cluster.unread_by_code, {});
    Outcome read = std::exchange(cluster.unread_by_status, {});
    if (!speaks_grpc) read = by_code;
    read.codes = by_code.codes;
    const Times times = std::exchange(cluster.unread_times, {});
    const bool keeps_times = times_ == TimesOf::kAllReadings ? !is_first : !is_dropped;
    if (!is_dropped) service.counted[subset].outcome += read;
    if (keeps_times) service.counted[subset].times += times;
    cluster.had_counted = counts;
    cluster.had_statuses = cluster.has_statuses;
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
    cluster.had_counted = cluster.had_statuses = cluster.restarted = false;
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

void Ledger::ForgetSidecar(const std::string& service, const std::string& sidecar) {
  const auto found = services_[service].sidecars.find(sidecar);
  if (found != services_[service].sidecars.end()) Forget(found->second);
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
