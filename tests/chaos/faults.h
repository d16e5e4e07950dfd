// Which faults a round has, drawn from its seed. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::testing {

using base::milliseconds;

enum class FaultKind {
  kAnalyzerKill,  // SIGKILL, started again at the end
  kAnalyzerStop,  // SIGSTOP, SIGCONT at the end
  kAnalyzerTerm,  // SIGTERM, started again at the end
  kServerKill,    // of a Consul server
  kServerStop,
  kServerTerm,
  kLeaderKill,  // of the Consul server that leads then
  kLeaderStop,
  kQuorumStop,        // of two Consul servers: nobody can be elected, and nothing written
  kLinkCut,           // between an analyzer and its server: every connection is reset, once
  kLinkRefuse,        // and new ones are reset as well
  kLinkHoldRequests,  // what the analyzer says arrives at the end
  kLinkHoldAnswers,   // what the server says arrives at the end
  kLinkBlackhole,     // nothing arrives, and everything is reset at the end
  kLinkDelay,
  kWriteHeld,   // of an entry; the analyzer is killed then, and the write arrives at the end
  kCallerKill,  // the caller's sidecar
  kCallerStop,
  kPrimaryKill,  // the sidecar of the primary's instance; where the canary is healthy
  kCanaryKill,   // of the canary's; where the canary is bad
  kHandEdit,     // someone writes another weight into the splitter
  kClockSkew,    // an analyzer's wall clock, from then on
};
inline constexpr std::size_t kFaultKinds = static_cast<std::size_t>(FaultKind::kClockSkew) + 1;

[[nodiscard]] std::string_view ToString(FaultKind kind);

struct Fault {
  FaultKind kind = FaultKind::kAnalyzerKill;
  std::size_t target = 0;  // which analyzer, server or lane
  milliseconds at{0};      // since the round's begin
  milliseconds lasts{0};   // 0: it is over at once
  double value = 0;        // kHandEdit: the canary's percent; kClockSkew: seconds
  bool keeps_meta = true;  // kHandEdit: by someone who kept what else the entry said

  bool operator==(const Fault&) const = default;
};

// "analyzer-kill of 2 at 3.2 s for 1.5 s"
[[nodiscard]] std::string ToString(const Fault& fault);

struct FaultPlan {
  std::uint64_t seed = 0;
  std::vector<bool> healthy{};  // each lane's canary
  milliseconds length{14000};   // no fault begins later
  std::size_t analyzers = 3;
  std::size_t servers = 3;
  std::size_t faults = 10;      // of analyzers, servers and links
  std::set<FaultKind> kinds{};  // empty: all
};

// By `at`. The same target has one fault at a time. But for kQuorumStop one Consul server at most
// is away.
[[nodiscard]] std::vector<Fault> DrawFaults(const FaultPlan& plan);

}  // namespace consul_canary::testing
