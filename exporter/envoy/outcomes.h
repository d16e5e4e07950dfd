// From cumulative counters of many sidecars to requests and failures of one subset: deltas, counter
// resets, and the three views of an outcome. Pure. Which view counts what, and why
// `upstream_rq_total` is no denominator: docs/outcomes.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/consul/config_entries.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::envoy {

enum class View {
  kFirstTry,  // a request whose first try failed is a failure, retried or not
  kAttempts,  // every try counts
  kRequests,  // what callers saw
};

// Requests (or attempts) that ended and how many of them failed. Where Envoy's counters cannot tell
// exactly, the truth lies between failures_low and failures_high. 0 <= low <= high <= completed.
struct Outcomes {
  std::uint64_t completed = 0;
  std::uint64_t failures_low = 0;
  std::uint64_t failures_high = 0;

  Outcomes& operator+=(const Outcomes& other);
  bool operator==(const Outcomes&) const = default;
};

// The part of SubsetCounters that outcomes need; cumulative, or the difference of two such.
struct OutcomeCounters {
  std::uint64_t completed = 0;
  std::uint64_t retries = 0;
  std::uint64_t retry_success = 0;
  std::map<int, std::uint64_t> responses;          // codes from 400 on
  std::map<int, std::uint64_t> retried_responses;  // all codes
  std::map<int, std::uint64_t> grpc_statuses;      // gRPC status → calls that ended with it
  // Of cumulative counters alone: answers of all codes. Unlike `completed` they start anew with the
  // statuses when the cluster is rebuilt.
  std::uint64_t answers = 0;
  // Only after CountByStatus(): answers with a 5xx and without a status, at least and at most, and
  // retries of calls, whose status is not known.
  std::uint64_t bare_errors_low = 0;
  std::uint64_t bare_errors_high = 0;
  std::uint64_t grpc_retries = 0;
  std::uint64_t timed = 0;  // requests in the histogram
  // Edge in milliseconds → requests that took at most that. Where sidecars with other edges are
  // added, only the common ones stay.
  std::map<double, std::uint64_t> faster;
  std::uint64_t failed_over = 0;  // as SubsetCounters'

  OutcomeCounters& operator+=(const OutcomeCounters& other);
  bool operator==(const OutcomeCounters&) const = default;
};

[[nodiscard]] OutcomeCounters ToOutcomeCounters(const SubsetCounters& counters);

// later - earlier; nullopt when any counter went down (the sidecar restarted or its cluster was
// rebuilt), or when gRPC statuses appear where calls had ended without any: how many of them are
// new is not known.
[[nodiscard]] std::optional<OutcomeCounters> Difference(const OutcomeCounters& later,
                                                        const OutcomeCounters& earlier);

// Makes of one sidecar's difference for a gRPC service (or of its counters themselves) what is to
// be counted: calls that ended with a status, and answers without any where their code is a 5xx.
// `without_status` are the answers since the cluster was built whose status is missing: see below.
// Derivation: docs/outcomes.md#grpc.
void CountByStatus(OutcomeCounters& difference, std::uint64_t without_status);

// Of cumulative counters, for CountByStatus(): 0 where more calls ended than were answered.
[[nodiscard]] std::uint64_t WithoutStatus(std::uint64_t answers,
                                          const std::map<int, std::uint64_t>& grpc_statuses);

// Applies a view to a difference, or to a sum of such. First-try failures are doubtful up to
// min(retry_success, final failures that some retrying route does not retry + retried responses
// that are no failures).
[[nodiscard]] Outcomes Apply(View view, const OutcomeCounters& difference,
                             const std::vector<consul::RetryRule>& retries);

// One sidecar's counters at one moment, for the subsets of one service, by subset name.
using SubsetOutcomes = std::map<std::string, OutcomeCounters>;

// Where the differences of one tick start from: what each sidecar had counted. It is plain data, so
// that it can be kept with a rollout's state and survive a restart.
using Baselines = std::map<std::string, SubsetOutcomes>;  // sidecar id → …

// What one caller's sidecar shows of one subset's requests: those that ended, and those under way.
struct FlightReading {
  std::uint64_t completed = 0;
  std::uint64_t active = 0;

  bool operator==(const FlightReading&) const = default;
};

// Requests that began in a block that is over, and of these at least so many that took longer than
// the time T. 0 <= late <= started.
struct LateOutcomes {
  std::uint64_t started = 0;
  std::uint64_t late = 0;

  bool operator==(const LateOutcomes&) const = default;
};

// A block of the requests of one subset at one caller: its begin, that of its present part (which
// lasts T), and what is certain so far.
struct LateBlock {
  FlightReading begin;
  FlightReading part;
  std::uint64_t late = 0;

  bool operator==(const LateBlock&) const = default;
};

// Both subsets' blocks at one caller: they begin and end together.
struct LateBlocks {
  double begin_seconds = 0;  // on any clock that does not jump
  double part_seconds = 0;
  LateBlock canary, primary;

  bool operator==(const LateBlocks&) const = default;
};

struct SubsetFlights {
  double at_seconds = 0;
  FlightReading canary, primary;
};

[[nodiscard]] LateBlocks BeginLate(const SubsetFlights& reading);

// What ended with a reading: nothing, or a block of both subsets.
struct LateTick {
  LateOutcomes canary, primary;
  double seconds = 0;                // that the block lasted
  std::uint64_t primary_active = 0;  // under way at its end

  LateTick& operator+=(const LateTick& other);
};

// Takes a reading. A block ends as soon as a good part of the canary's requests is late, and after
// eight times T at the latest; the next begins with the reading, and what is under way then belongs
// to none. Counters that went down begin one without a word. Bounds: docs/outcomes.md#late.
[[nodiscard]] LateTick AdvanceLate(LateBlocks& blocks, const SubsetFlights& reading,
                                   double after_seconds);

// What one tick added, summed over sidecars.
struct TickOutcomes {
  std::map<std::string, OutcomeCounters> by_subset;
  std::vector<std::string>
      reset_sidecars;                     // dropped in this tick, for all subsets: see Difference()
  std::vector<std::string> new_sidecars;  // seen for the first time: they only set their baseline

  bool operator==(const TickOutcomes&) const = default;
};

// Takes the newest counters of every sidecar that has been read, adds what is new since
// `baselines`, and moves the baselines. A subset that a known sidecar did not show before starts
// from 0. Sidecars missing from `now` keep their baseline (they may only be late).
[[nodiscard]] TickOutcomes Advance(Baselines& baselines,
                                   const std::map<std::string, SubsetOutcomes>& now);

}  // namespace consul_canary::envoy
