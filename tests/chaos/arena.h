// The cluster, the mesh, three analyzers behind their proxies, and whoever does faults to them.
// Several rollouts run at once in a round, each on a service of its own, and the round's faults
// befall them all.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "exporter/base/result.h"
#include "tests/chaos/cluster.h"
#include "tests/chaos/fault_proxy.h"
#include "tests/chaos/faults.h"
#include "tests/chaos/history.h"
#include "tests/chaos/lane.h"
#include "tests/chaos/watcher.h"
#include "tests/support/daemons.h"

namespace consul_canary::testing {

// One rollout.
struct RunResult {
  std::string service{};
  std::string version{};
  bool healthy = true;
  std::optional<milliseconds> turns_bad{};  // so long after the round's begin; nullopt: at once
  std::string phase{};                      // that it came to; empty: none in time
  std::string reason{};
  double seconds = 0;
  // How long a canary that failed had traffic, and how much of it after the last fault was over.
  std::optional<milliseconds> harm{};
  std::optional<milliseconds> harm_in_quiet{};
  std::vector<DecisionSeen> decisions{};  // of this version
  Violations violations{};
};

// What passed the proxies, and what Consul showed of it.
struct WriteTotals {
  int accepted = 0;
  int refused = 0;  // answered, and not with `true`
  int unanswered = 0;
  int held = 0;     // let through more than a second after they came
  int deposed = 0;  // let through after a write of a later epoch had been answered; all refused
  int leaders = 0;  // epochs in splitters, over all services
};

struct AppliedFault {
  Fault fault{};
  std::string note{};  // what it was done to, or why it was not done
  bool done = false;
  bool broken = false;  // what it took away could not be brought back
  MonotonicTime begin{};
  MonotonicTime end{};
};

struct RoundResult {
  std::uint64_t seed = 0;
  MonotonicTime begin{};
  std::vector<AppliedFault> faults{};
  std::vector<RunResult> runs{};
  Violations violations{};  // of no single run

  [[nodiscard]] bool good() const;
};

class Arena {
 public:
  static constexpr std::size_t kAnalyzers = 3;
  // A sanitizer's runtime must be the first library that a program loads.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr bool kFakesClocks = false;
#else
  static constexpr bool kFakesClocks = true;
#endif
  // Of Debian's package; in an analyzer's environment. Below its server's folder: how far its wall
  // clock is off.
  static constexpr const char* kFaketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
  static constexpr const char* kClockFile = "clock";

  [[nodiscard]] static base::Result<std::unique_ptr<Arena>> Start(std::size_t lanes);
  ~Arena();

  // A rollout on each lane, with the faults of `kinds` (empty: all) that the seed draws.
  [[nodiscard]] RoundResult Round(std::uint64_t seed, const std::set<FaultKind>& kinds,
                                  std::size_t faults);

  // Since the start.
  [[nodiscard]] WriteTotals Writes() const;

  // For a look after a failure: the folders with every log, which stay from then on.
  [[nodiscard]] std::vector<std::string> KeepLogs();

 private:
  struct Plan {
    RoundResult result{};
    // When each lane's canary was made to fail; nullopt: not.
    std::vector<std::optional<MonotonicTime>> bad_since{};
    std::atomic<std::size_t> ended{0};  // rollouts
    std::atomic<bool> over{false};
  };

  [[nodiscard]] base::Result<void> StartAnalyzers();
  [[nodiscard]] base::Result<void> ApplySpecifications();
  [[nodiscard]] base::Result<void> DeployAll(Plan& plan);
  void Suffer(Plan& plan);
  void Begin(AppliedFault& applied);
  void KillWhoseWriteIsHeld(AppliedFault& applied);
  void BeginOfServer(AppliedFault& applied);
  ConsulAgent& AfterIt(std::size_t server);  // the next one
  void BeginOfLane(AppliedFault& applied);
  void End(AppliedFault& applied);
  void SkewClock(std::size_t analyzer, double by_seconds) const;
  void KillAnalyzer(std::size_t analyzer);
  void Attend(Plan& plan);  // what people do meanwhile, and when the rollouts end
  void AttendLane(Plan& plan, std::size_t lane, int& foreign_looks);
  void ResumeAnywhere(const std::string& service) const;
  void Conclude(Plan& plan);
  void CheckEnd(Lane& lane, RunResult& run) const;
  void MeasureHarm(const Plan& plan, std::size_t lane, RunResult& run) const;
  [[nodiscard]] History HistoryOf(const Lane& lane) const;
  [[nodiscard]] std::size_t LeadersOf(const std::string& service) const;

  std::unique_ptr<Cluster> cluster_;
  std::array<std::unique_ptr<FaultProxy>, kAnalyzers> links_;
  std::array<std::unique_ptr<Daemon>, kAnalyzers> analyzers_;
  std::unique_ptr<Watcher> watcher_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::set<std::string> reported_;  // violations, each told once
};

}  // namespace consul_canary::testing
