// What somebody who reads the sidecars must have counted, kept from the requests and the mishaps
// themselves and never from a counter: each request waits until a page that shows it is read, and
// is lost with whatever docs/outcomes.md says is lost. That a restart can be seen at all (some
// counter is below what was read before) is up to who makes the traffic.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "exporter/base/clock.h"
#include "tests/churn/envoy_sidecar.h"

namespace consul_canary::churn {

// Of requests, as their callers and the applications saw them.
struct Outcome {
  std::uint64_t requests = 0;
  std::uint64_t first_failures = 0;  // first attempt failed
  std::uint64_t final_failures = 0;  // last attempt failed
  std::uint64_t attempts = 0;
  std::uint64_t failed_attempts = 0;
  std::uint64_t status_errors = 0;        // of final_failures, those with a status and a 5xx code
  std::map<int, std::uint64_t> codes;     // of the last attempts
  std::map<int, std::uint64_t> statuses;  // of gRPC, likewise

  // An attempt failed that was answered 5xx. Codes apart.
  void AddByCode(const Request& request);
  // An attempt failed whose gRPC status is the service's fault, or that has none and is a 5xx. What
  // has no status and another code is left out. Codes apart.
  void AddByStatus(const Request& request);
  Outcome& operator+=(const Outcome& other);
};

struct Counted {
  Outcome outcome;
  Times times;
};

// One cluster of one sidecar.
struct Place {
  std::string service;
  std::string sidecar;
  std::string subset;
};

class Ledger {
 public:
  enum class TimesOf {
    kAllReadings,      // a histogram's own restart loses what was not read, and nothing else does
    kCountedReadings,  // a tick that is dropped is dropped with its times
  };

  explicit Ledger(TimesOf times) : times_(times) {}

  // What happens in the mesh. An answer begins and ends, most of them at once; a restart is of all
  // of a sidecar's clusters.
  void Begin(const Place& place, const Request& request);
  void End(const Place& place, const Request& request);
  void Serve(const Place& place, const std::vector<Request>& requests);
  void Flush(const Place& place);
  void Restart(const std::string& sidecar);
  void Rebuild(const Place& place);
  // An instance is in another subset now: there its next flush will show. Of the subset that it
  // left nothing is remembered.
  void Move(const Place& from, const Place& to);

  // Subset → whether it had counted anything.
  using Shown = std::map<std::string, bool>;
  // The reader has a page of the sidecar, just read or an older one: it knows the sidecar now.
  // `shown`: which subsets are new on it, empty where it is an older one.
  void Read(const std::string& service, const std::string& sidecar, const Shown& shown,
            base::MonotonicTime now);

  [[nodiscard]] bool Knows(const std::string& service, const std::string& sidecar) const;
  // The reader has no memory of other sidecars any more, or of those not read for so long.
  void ForgetAllBut(const std::string& service, const std::set<std::string>& sidecars);
  void ForgetUnreadSince(base::MonotonicTime time);
  // It will not come back.
  void RemoveService(const std::string& service) { services_.erase(service); }
  void RemoveSidecar(const std::string& sidecar);
  // The reader has no memory of this one any more.
  void ForgetSidecar(const std::string& service, const std::string& sidecar);

  // By subset.
  [[nodiscard]] const std::map<std::string, Counted>& Of(const std::string& service) const;

 private:
  struct Cluster {
    Outcome unread_by_code, unread_by_status;
    Times unflushed;
    Times unread_times;
    bool has_statuses = false;  // its counters begin with the sidecar, or when it is rebuilt
    bool had_counted = false;   // when a page last showed it
    bool had_statuses = false;  // likewise
    bool restarted = false;     // since then, and it had
  };
  struct Sidecar {
    bool is_known = false;
    base::MonotonicTime known_at;
    std::map<std::string, Cluster> clusters;  // by subset
  };
  struct Service {
    std::map<std::string, Sidecar> sidecars;
    std::map<std::string, Counted> counted;
  };

  Cluster& At(const Place& place) {
    return services_[place.service].sidecars[place.sidecar].clusters[place.subset];
  }
  static void Forget(Sidecar& sidecar);
  static bool IsDropped(const Sidecar& sidecar, const Shown& shown);

  TimesOf times_;
  std::map<std::string, Service> services_;
};

}  // namespace consul_canary::churn
