#include "exporter/envoy/outcomes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace consul_canary::envoy {
namespace {

using Codes = std::map<int, std::uint64_t>;

std::uint64_t SumOfServerErrors(const Codes& codes) {
  std::uint64_t sum = 0;
  for (auto it = codes.lower_bound(500); it != codes.end() && it->first < 600; ++it) {
    sum += it->second;
  }
  return sum;
}

void AddCodes(const Codes& from, Codes& to) {
  for (const auto& [code, count] : from) to[code] += count;
}

// An edge that one of the two lacks says nothing about their sum.
void AddHistogram(const OutcomeCounters& from, OutcomeCounters& to) {
  if (from.faster.empty() && from.timed == 0) return;
  if (to.faster.empty() && to.timed == 0) {
    to.faster = from.faster;
  } else {
    std::erase_if(to.faster,
                  [&from](const auto& edge) { return !from.faster.contains(edge.first); });
    for (auto& [edge, count] : to.faster) count += from.faster.at(edge);
  }
  to.timed += from.timed;
}

using Retries = std::vector<consul::RetryRule>;

// Whether every route that retries at all retries this code or status, which its rules have in
// `member`. Without a known route that retries, nothing is certain: a retry then comes from a
// policy that we do not see.
bool IsRetriedEverywhere(int code, std::vector<int> consul::RetryRule::*member,
                         const Retries& retries) {
  return !retries.empty() && std::ranges::all_of(retries, [&](const consul::RetryRule& rule) {
    return std::ranges::find(rule.*member, code) != (rule.*member).end();
  });
}

// Of gRPC statuses, those that are the service's fault: see docs/outcomes.md#grpc. What is none of
// gRPC's own counts as UNKNOWN.
bool IsFailedStatus(int status) {
  constexpr std::array kAnswers = {0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 16};
  return std::ranges::find(kAnswers, status) == kAnswers.end();
}

// Whether a retry may follow an attempt that is no failure.
bool RetriesAnswers(const Retries& retries) {
  return retries.empty() || std::ranges::any_of(retries, [](const consul::RetryRule& rule) {
           return std::ranges::any_of(rule.status_codes, [](int code) { return code < 500; }) ||
                  !std::ranges::all_of(rule.grpc_statuses, IsFailedStatus);
         });
}

// Requests that ended, as callers saw them, and what the failures among them leave in doubt.
struct Ended {
  std::uint64_t all = 0;
  std::uint64_t failed_low = 0;
  std::uint64_t failed_high = 0;
  std::uint64_t not_retried = 0;      // of the failed, those that some retrying route lets be
  std::uint64_t failed_retried = 0;   // attempts that failed and were retried, at most
  std::uint64_t answers_retried = 0;  // attempts that were retried and may not have failed
};

Ended EndedByCode(const OutcomeCounters& counters, const Retries& retries) {
  Ended ended{.all = counters.completed,
              .failed_retried = SumOfServerErrors(counters.retried_responses)};
  ended.failed_low = ended.failed_high = SumOfServerErrors(counters.responses);
  for (const auto& [code, count] : counters.responses) {
    if (code < 500 || code >= 600) continue;
    if (!IsRetriedEverywhere(code, &consul::RetryRule::status_codes, retries)) {
      ended.not_retried += count;
    }
  }
  for (const auto& [code, count] : counters.retried_responses) {
    if (code < 500) ended.answers_retried += count;
  }
  return ended;
}

// A call has ended when its status is there; one that has none is not told from one that goes on,
// unless its code is a 5xx. The code of a status may be a 5xx too (Envoy's own UNAVAILABLE is 503).
Ended EndedByStatus(const OutcomeCounters& counters, const Retries& retries) {
  std::uint64_t calls = 0;
  std::uint64_t failed = 0;
  Ended ended;
  for (const auto& [status, count] : counters.grpc_statuses) {
    calls += count;
    if (!IsFailedStatus(status)) continue;
    failed += count;
    if (!IsRetriedEverywhere(status, &consul::RetryRule::grpc_statuses, retries)) {
      ended.not_retried += count;
    }
  }
  const std::uint64_t errors = SumOfServerErrors(counters.responses);
  const std::uint64_t without = counters.completed > calls ? counters.completed - calls : 0;
  const std::uint64_t least = errors > failed ? errors - failed : 0;
  const std::uint64_t most = std::max(least, std::min(errors, without));
  ended.all = calls + most;
  ended.failed_low = failed + least;
  ended.failed_high = failed + most;
  ended.not_retried += most;
  ended.failed_retried = counters.retries;
  if (RetriesAnswers(retries)) ended.answers_retried = counters.retries;
  return ended;
}

// 0 <= low <= high.
Outcomes Bounded(std::uint64_t completed, std::uint64_t low, std::uint64_t high) {
  return {.completed = completed,
          .failures_low = std::min(low, completed),
          .failures_high = std::min(high, completed)};
}

bool Subtract(std::uint64_t later, std::uint64_t earlier, std::uint64_t& difference) {
  if (later < earlier) return false;
  difference = later - earlier;
  return true;
}

bool SubtractCodes(const Codes& later, const Codes& earlier, Codes& difference) {
  for (const auto& [code, count] : earlier) {
    const auto it = later.find(code);
    if ((it == later.end() ? 0 : it->second) < count) return false;
  }
  for (const auto& [code, count] : later) {
    const auto it = earlier.find(code);
    const std::uint64_t more = count - (it == earlier.end() ? 0 : it->second);
    if (more > 0) difference[code] = more;
  }
  return true;
}

// Every edge is kept, with 0 where nothing was added: what is missing is not known. A histogram
// that went down or has other edges began anew and adds nothing; the counters may have gone on.
void SubtractHistogram(const OutcomeCounters& later, const OutcomeCounters& earlier,
                       OutcomeCounters& difference) {
  if (later.timed < earlier.timed) return;
  std::map<double, std::uint64_t> faster = later.faster;
  for (const auto& [edge, count] : earlier.faster) {
    const auto it = faster.find(edge);
    if (it == faster.end() || it->second < count) return;
    it->second -= count;
  }
  if (!earlier.faster.empty() && faster.size() != earlier.faster.size()) return;
  difference.timed = later.timed - earlier.timed;
  difference.faster = std::move(faster);
}

// What the sidecar added in each of its subsets; nullopt when any of them went down.
std::optional<SubsetOutcomes> AllDifferences(const SubsetOutcomes& later,
                                             const SubsetOutcomes& earlier) {
  SubsetOutcomes differences;
  bool speaks_grpc = false;
  for (const auto& [subset, counters] : later) {
    const auto it = earlier.find(subset);
    const std::optional<OutcomeCounters> difference =
        Difference(counters, it == earlier.end() ? OutcomeCounters() : it->second);
    if (!difference) return std::nullopt;
    speaks_grpc = speaks_grpc || !counters.grpc_statuses.empty();
    differences[subset] = *difference;
  }
  if (speaks_grpc) {
    for (auto& [subset, difference] : differences) MarkGrpc(difference);
  }
  return differences;
}

constexpr double kPartsOfABlock = 8;
constexpr std::uint64_t kLeastLate = 3;
constexpr std::uint64_t kGoodPart = 4;  // one in so many

bool WentDown(const LateBlock& block, const FlightReading& reading) {
  return reading.completed < block.part.completed;
}

// At the end of a part, what was under way at its begin and is so still took longer than T. All
// that ended meanwhile may have been among it; what was under way at the block's begin is not of
// the block; and what its callers gave up is under way no more.
void EndPart(LateBlock& block, const FlightReading& reading) {
  const std::uint64_t not_of_it = block.begin.active + (reading.completed - block.part.completed);
  const std::uint64_t left = block.part.active > not_of_it ? block.part.active - not_of_it : 0;
  block.late = std::max(block.late, std::min(left, reading.active));
  block.part = reading;
}

// After EndPart().
LateOutcomes OutcomesOf(const LateBlock& block) {
  const std::uint64_t seen = block.part.completed - block.begin.completed + block.part.active;
  const std::uint64_t started = seen > block.begin.active ? seen - block.begin.active : 0;
  return {std::max(started, block.late), block.late};
}

bool IsGoodPart(const LateOutcomes& outcomes) {
  return outcomes.late >= kLeastLate && kGoodPart * outcomes.late >= outcomes.started;
}

}  // namespace

Outcomes& Outcomes::operator+=(const Outcomes& other) {
  completed += other.completed;
  failures_low += other.failures_low;
  failures_high += other.failures_high;
  return *this;
}

OutcomeCounters& OutcomeCounters::operator+=(const OutcomeCounters& other) {
  completed += other.completed;
  retries += other.retries;
  retry_success += other.retry_success;
  AddCodes(other.responses, responses);
  AddCodes(other.retried_responses, retried_responses);
  AddCodes(other.grpc_statuses, grpc_statuses);
  AddHistogram(other, *this);
  return *this;
}

OutcomeCounters ToOutcomeCounters(const SubsetCounters& counters) {
  OutcomeCounters outcome;
  outcome.completed = counters.completed;
  outcome.retries = counters.retries;
  outcome.retry_success = counters.retry_success;
  outcome.responses.insert(counters.responses.lower_bound(400), counters.responses.end());
  outcome.retried_responses = counters.retried_responses;
  outcome.grpc_statuses = counters.grpc_statuses;
  outcome.timed = counters.request_time.count;
  for (const auto& [edge, count] : counters.request_time.buckets) {
    if (std::isfinite(edge)) outcome.faster[edge] = count;
  }
  return outcome;
}

std::optional<OutcomeCounters> Difference(const OutcomeCounters& later,
                                          const OutcomeCounters& earlier) {
  const bool first_statuses = earlier.grpc_statuses.empty() && !later.grpc_statuses.empty();
  if (first_statuses && earlier.completed > 0) return std::nullopt;
  OutcomeCounters difference;
  if (Subtract(later.completed, earlier.completed, difference.completed) &&
      Subtract(later.retries, earlier.retries, difference.retries) &&
      Subtract(later.retry_success, earlier.retry_success, difference.retry_success) &&
      SubtractCodes(later.responses, earlier.responses, difference.responses) &&
      SubtractCodes(later.retried_responses, earlier.retried_responses,
                    difference.retried_responses) &&
      SubtractCodes(later.grpc_statuses, earlier.grpc_statuses, difference.grpc_statuses)) {
    if (!later.grpc_statuses.empty()) MarkGrpc(difference);
    SubtractHistogram(later, earlier, difference);
    return difference;
  }
  return std::nullopt;
}

Outcomes Apply(View view, const OutcomeCounters& difference,
               const std::vector<consul::RetryRule>& retries) {
  const bool by_code = difference.grpc_statuses.empty();
  const Ended ended =
      by_code ? EndedByCode(difference, retries) : EndedByStatus(difference, retries);
  const std::uint64_t saved = difference.retry_success;
  switch (view) {
    case View::kFirstTry: {
      // Those counted twice, or none at all: see docs/outcomes.md#bounds.
      const std::uint64_t doubtful = std::min(saved, ended.not_retried + ended.answers_retried);
      return Bounded(ended.all, ended.failed_low + saved - doubtful, ended.failed_high + saved);
    }
    case View::kAttempts: {
      const std::uint64_t doubtful = by_code ? 0 : ended.answers_retried;
      return Bounded(ended.all + difference.retries,
                     ended.failed_low + ended.failed_retried - doubtful,
                     ended.failed_high + ended.failed_retried);
    }
    case View::kRequests:
      break;
  }
  return Bounded(ended.all, ended.failed_low, ended.failed_high);
}

void MarkGrpc(OutcomeCounters& counters) { counters.grpc_statuses.try_emplace(0); }

LateTick& LateTick::operator+=(const LateTick& other) {
  canary.started += other.canary.started;
  canary.late += other.canary.late;
  primary.started += other.primary.started;
  primary.late += other.primary.late;
  seconds = std::max(seconds, other.seconds);
  primary_active += other.primary_active;
  return *this;
}

LateBlocks BeginLate(const SubsetFlights& reading) {
  return {.begin_seconds = reading.at_seconds,
          .part_seconds = reading.at_seconds,
          .canary = {.begin = reading.canary, .part = reading.canary},
          .primary = {.begin = reading.primary, .part = reading.primary}};
}

LateTick AdvanceLate(LateBlocks& blocks, const SubsetFlights& reading, double after_seconds) {
  if (WentDown(blocks.canary, reading.canary) || WentDown(blocks.primary, reading.primary)) {
    blocks = BeginLate(reading);
    return {};
  }
  if (reading.at_seconds - blocks.part_seconds < after_seconds) return {};
  EndPart(blocks.canary, reading.canary);
  EndPart(blocks.primary, reading.primary);
  blocks.part_seconds = reading.at_seconds;
  const LateTick tick{.canary = OutcomesOf(blocks.canary),
                      .primary = OutcomesOf(blocks.primary),
                      .seconds = reading.at_seconds - blocks.begin_seconds,
                      .primary_active = reading.primary.active};
  if (!IsGoodPart(tick.canary) && tick.seconds < kPartsOfABlock * after_seconds) return {};
  blocks = BeginLate(reading);
  return tick;
}

TickOutcomes Advance(Baselines& baselines, const std::map<std::string, SubsetOutcomes>& now) {
  TickOutcomes tick;
  for (const auto& [sidecar, counters] : now) {
    const auto baseline = baselines.find(sidecar);
    if (baseline == baselines.end()) {
      tick.new_sidecars.push_back(sidecar);
      baselines[sidecar] = counters;
      continue;
    }
    const std::optional<SubsetOutcomes> added = AllDifferences(counters, baseline->second);
    if (added) {
      for (const auto& [subset, difference] : *added) tick.by_subset[subset] += difference;
    } else {
      tick.reset_sidecars.push_back(sidecar);
    }
    // A subset that is missing this time keeps its baseline: it may only be late, and from 0 its
    // whole past would be counted again.
    for (const auto& [subset, current] : counters) baseline->second[subset] = current;
  }
  return tick;
}

}  // namespace consul_canary::envoy
