// A mesh in which everything comes and goes: services with a splitter, their instances, those who
// call them; sidecars restart, clusters are rebuilt, pages are missed or lack a subset, subsets are
// used late. It knows each request, and keeps for each of the three readers (metrics, the
// analyzer's callers, the analyzer's instances) the ledger of what that one must have counted.
// Seeded: the same at each run.
//
// So that a restart can be told from its counters at all, only what has counted enough restarts,
// and it serves few requests until it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "exporter/collect/mesh_state.h"
#include "tests/churn/envoy_sidecar.h"
#include "tests/churn/ledger.h"

namespace consul_canary::churn {

struct ChurnSize {
  std::size_t services = 6;  // at once, at most
  std::size_t callers = 8;
};

// What has happened so far.
struct Mishaps {
  std::uint64_t requests = 0;         // of services that callers tell of
  std::uint64_t counted_of_gone = 0;  // of these, by the analyzer, of services that are gone
  std::uint64_t services = 0;         // begun
  std::uint64_t services_back = 0;
  std::uint64_t sidecars = 0;       // begun
  std::uint64_t sidecars_away = 0;  // left Consul for a while and went on counting
  std::uint64_t restarts = 0;
  std::uint64_t rebuilt_clusters = 0;
  std::uint64_t missed_pages = 0;
  std::uint64_t pages_without_a_subset = 0;
  std::uint64_t moved_instances = 0;  // to the other subset
  std::uint64_t streams = 0;          // gRPC calls that were answered in one tick and ended later
};

// A cluster, and what a page last said of it.
struct ChurnCluster {
  static constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

  EnvoyCluster envoy;
  std::uint64_t read_completed = 0;
  std::uint64_t read_errors = 0;  // of the code from 400 on with the most
  std::uint64_t read_timed = 0;
  std::uint64_t read_calls = 0;        // of the gRPC status with the most
  std::uint64_t allowance = kNoLimit;  // requests that it may still serve before it is read
  std::vector<Request> streams;        // answered, and not at their end
};

class ChurningMesh {
 public:
  static constexpr std::uint64_t kKinds = 6;
  enum class Kind {
    kRetried,   // each 5xx is tried again: first tries can be told exactly
    kPlain,     // nothing is
    kDoubtful,  // only 503 is: first tries can be told within bounds
    kFailover,  // as kRetried, told by the instances' own sidecars alone
    kGrpc,      // each call ends with a status, each failed one is tried again: as kRetried
    // gRPC within bounds: streams, answers without a status, calls that are not gRPC's, and
    // failures that nobody tries again.
    kMixedGrpc,
  };

  struct Service {
    std::string name;
    Kind kind = Kind::kRetried;
    bool is_permanent = false;
    bool is_ruled = false;  // a rollout is under way
    std::uint64_t canary_percent = 10;
    std::uint64_t number = 0;  // services that began before; a name may come back
  };

  ChurningMesh(std::uint64_t seed, const ChurnSize& size);

  // Time goes on by a tick. While it is `calm`, only the permanent part is there, and nothing
  // happens to it but requests.
  void Step(base::MonotonicTime now, bool calm);

  // What Consul says now; the flag tells whether that is news since the last call.
  [[nodiscard]] std::pair<const collect::MeshState*, bool> Catalog();

  // What the sidecar answers now; nullopt: nothing. Once a tick for each that is wanted.
  [[nodiscard]] std::optional<envoy::SidecarPage> Read(const std::string& sidecar_id);

  // All have been read that were wanted: the ledgers take it in.
  void EndTick();

  [[nodiscard]] const std::map<std::string, Service>& services() const { return services_; }
  [[nodiscard]] const Mishaps& mishaps() const { return mishaps_; }
  // Requests that the analyzer must have counted of the service since it began.
  [[nodiscard]] std::uint64_t CountedOf(const std::string& service) const;
  [[nodiscard]] const Ledger& metrics() const { return metrics_; }
  // What the metrics must tell of callers where the instances tell the rest.
  [[nodiscard]] const Ledger& failover_callers() const { return failover_callers_; }
  [[nodiscard]] const Ledger& callers() const { return analyzer_callers_; }
  [[nodiscard]] const Ledger& instances() const { return analyzer_instances_; }

 private:
  using Cluster = ChurnCluster;

  static constexpr const char* kPrimary = "primary";
  static constexpr const char* kCanary = "canary";
  // What a cluster that restarted serves at most before it is read, and the attempts of a request.
  static constexpr std::uint64_t kFewRequests = 12;
  static constexpr std::uint64_t kMostAttempts = 4;

  struct Sidecar {
    std::string id;       // node/service-id
    std::string service;  // whose sidecar it is
    std::string subset;   // of an instance of a shown service
    bool is_permanent = false;
    bool writes_text = false;
    std::map<envoy::Destination, Cluster> clusters;  // of a caller
    std::optional<Cluster> local_app;                // of an instance
    bool is_registered = true;
    bool has_reading = false;                  // since it was registered
    bool may_hang = false;                     // it was read since it hung last
    std::map<envoy::Destination, bool> shown;  // on the page of this tick: whether it had counted
    bool is_read = false;                      // in this tick
    std::optional<base::MonotonicTime> back_at;
    base::MonotonicTime silent_until;
  };
  using Sidecars = std::map<std::string, Sidecar>;

  [[nodiscard]] std::uint64_t Below(std::uint64_t limit) { return random_() % limit; }
  [[nodiscard]] bool OneIn(std::uint64_t chances) { return Below(chances) == 0; }

  void ChurnServices();
  void ChurnCallers();
  void ChurnInstances();
  void CalmDown();
  void BeginService(bool is_permanent);
  void EndService(const std::string& name);
  void BeginCaller(bool is_permanent);
  void BeginInstance(const Service& service, const std::string& subset, bool is_permanent);
  void AddUpstream(Sidecar& caller, const Service& service);
  Sidecars::iterator Remove(Sidecars& sidecars, Sidecars::iterator sidecar);
  void LeaveOrReturn(Sidecar& caller);
  void Mishap(Sidecar& sidecar);
  void MoveInstance(Sidecar& instance);
  void Restart(Sidecar& sidecar);
  void Rebuild(Sidecar& caller);
  [[nodiscard]] static bool ShowsARestart(const Cluster& cluster);
  [[nodiscard]] static bool ShowsARebuild(const Cluster& cluster);

  void Traffic(Sidecar& caller);
  void Serve(Sidecar& caller, const envoy::Destination& destination, Cluster& cluster);
  void EndStreams(Sidecar& caller);
  // nullopt: no instance takes it.
  [[nodiscard]] std::optional<Request> MakeRequest(const Service& service,
                                                   const std::string& subset);
  // One try, with what the instance's own sidecar counts of it; whether another follows.
  struct Try {
    Attempt at_caller;
    std::optional<Attempt> at_instance;
    bool is_retriable = false;
  };
  [[nodiscard]] Try MakeTry(Kind kind, bool is_canary, bool is_first);
  [[nodiscard]] static Try FailingTry(Kind kind, std::uint64_t draw);
  [[nodiscard]] Sidecar* PickInstance(const std::string& service, const std::string& subset);
  void FlushAll(Sidecar& sidecar);

  [[nodiscard]] std::set<envoy::Destination> LeftOut(const Sidecar& sidecar);
  static void NoteRead(Cluster& cluster);
  void EndTickOfCaller(Sidecar& caller);
  void EndTickOfInstance(Sidecar& instance);
  // In the ledger of the metrics: an instance counts apart in each subset.
  [[nodiscard]] static Place InstancePlace(const Sidecar& instance);
  void MakeCatalog();

  std::mt19937_64 random_;
  ChurnSize size_;
  base::MonotonicTime now_;
  std::uint64_t last_number_ = 0;
  std::map<std::string, Service> services_;
  std::vector<std::pair<std::string, base::MonotonicTime>> gone_services_;  // that may come back
  Sidecars callers_, instances_;                                            // by id
  bool catalog_changed_ = true;
  collect::MeshState state_;
  Mishaps mishaps_;
  Ledger metrics_{Ledger::TimesOf::kAllReadings};
  Ledger failover_callers_{Ledger::TimesOf::kAllReadings};
  Ledger analyzer_callers_{Ledger::TimesOf::kCountedReadings};
  Ledger analyzer_instances_{Ledger::TimesOf::kCountedReadings};
};

}  // namespace consul_canary::churn
