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

// What Envoy answers itself where a connection does not come about. No rule about codes or statuses
// retries that.
constexpr int kNoConnectionCode = 503;
constexpr int kNoConnectionStatus = 14;  // UNAVAILABLE

// Whether every route that retries at all retries this code or status, which its rules have in
// `member`, whoever answers it; `no_connection` is the one that Envoy answers too. Without a known
// route that retries, nothing is certain: a retry then comes from a policy that we do not see.
bool IsRetriedEverywhere(int code, std::vector<int> consul::RetryRule::*member, int no_connection,
                         const Retries& retries) {
  return !retries.empty() && std::ranges::all_of(retries, [&](const consul::RetryRule& rule) {
    return std::ranges::find(rule.*member, code) != (rule.*member).end() &&
           (code != no_connection || rule.on_connect_failure);
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

std::uint64_t SumOf(const Codes& codes) {
  std::uint64_t sum = 0;
  for (const auto& [code, count] : codes) sum += count;
  return sum;
}

std::uint64_t SumOfFailed(const Codes& grpc_statuses) {
  std::uint64_t sum = 0;
  for (const auto& [status, count] : grpc_statuses) sum += IsFailedStatus(status) ? count : 0;
  return sum;
}

// Final failures that some retrying route lets be: a retry may have come before them.
std::uint64_t NotRetried(const OutcomeCounters& counters, const Retries& retries) {
  std::uint64_t sum = counters.bare_errors_high;
  for (const auto& [code, count] : counters.responses) {
    if (code < 500 || code >= 600) continue;
    if (!IsRetriedEverywhere(code, &consul::RetryRule::status_codes, kNoConnectionCode, retries)) {
      sum += count;
    }
  }
  for (const auto& [status, count] : counters.grpc_statuses) {
    if (!IsFailedStatus(status)) continue;
    if (!IsRetriedEverywhere(status, &consul::RetryRule::grpc_statuses, kNoConnectionStatus,
                             retries)) {
      sum += count;
    }
  }
  return sum;
}

// Of the retries of gRPC calls, those that may have followed an attempt that was no failure.
std::uint64_t DoubtfulGrpcRetries(const OutcomeCounters& counters, const Retries& retries) {
  return RetriesAnswers(retries) ? counters.grpc_retries : 0;
}

// The most first-try failures that were counted twice or are none: see docs/outcomes.md#bounds.
std::uint64_t DoubtfulFirstTries(const OutcomeCounters& counters, const Retries& retries) {
  std::uint64_t doubtful = NotRetried(counters, retries) + DoubtfulGrpcRetries(counters, retries);
  for (const auto& [code, count] : counters.retried_responses) {
    if (code < 500) doubtful += count;
  }
  return std::min(doubtful, counters.retry_success);
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
  // A canary that gives no status is not to be judged by its codes, which are 200 whatever happens.
  if (speaks_grpc) {
    for (auto& [subset, difference] : differences) {
      const OutcomeCounters& counters = later.at(subset);
      CountByStatus(difference, WithoutStatus(counters.answers, counters.grpc_statuses));
    }
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
  failed_over += other.failed_over;
  AddCodes(other.responses, responses);
  AddCodes(other.retried_responses, retried_responses);
  AddCodes(other.grpc_statuses, grpc_statuses);
  bare_errors_low += other.bare_errors_low;
  bare_errors_high += other.bare_errors_high;
  grpc_retries += other.grpc_retries;
  AddHistogram(other, *this);
  return *this;
}

OutcomeCounters ToOutcomeCounters(const SubsetCounters& counters) {
  OutcomeCounters outcome;
  outcome.completed = counters.completed;
  outcome.retries = counters.retries;
  outcome.retry_success = counters.retry_success;
  outcome.failed_over = counters.failed_over;
  outcome.responses.insert(counters.responses.lower_bound(400), counters.responses.end());
  outcome.retried_responses = counters.retried_responses;
  outcome.grpc_statuses = counters.grpc_statuses;
  outcome.answers = SumOf(counters.responses);
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
      Subtract(later.failed_over, earlier.failed_over, difference.failed_over) &&
      SubtractCodes(later.responses, earlier.responses, difference.responses) &&
      SubtractCodes(later.retried_responses, earlier.retried_responses,
                    difference.retried_responses) &&
      SubtractCodes(later.grpc_statuses, earlier.grpc_statuses, difference.grpc_statuses)) {
    SubtractHistogram(later, earlier, difference);
    return difference;
  }
  return std::nullopt;
}

std::uint64_t WithoutStatus(std::uint64_t answers, const Codes& grpc_statuses) {
  const std::uint64_t with_status = SumOf(grpc_statuses);
  return answers > with_status ? answers - with_status : 0;
}

void CountByStatus(OutcomeCounters& difference, std::uint64_t without_status) {
  // Each 5xx belongs to a call that failed (Envoy's own UNAVAILABLE is a 503) or to an answer
  // without a status; of these there never were more than answers whose status is missing so far.
  const std::uint64_t errors = SumOfServerErrors(difference.responses);
  const std::uint64_t failed = SumOfFailed(difference.grpc_statuses);
  difference.bare_errors_low = errors > failed ? errors - failed : 0;
  difference.bare_errors_high =
      std::max(difference.bare_errors_low, std::min(errors, without_status));
  difference.completed = SumOf(difference.grpc_statuses) + difference.bare_errors_high;
  difference.grpc_retries = difference.retries;
  difference.responses.clear();
  difference.retried_responses.clear();
}

Outcomes Apply(View view, const OutcomeCounters& difference, const Retries& retries) {
  const std::uint64_t failed =
      SumOfServerErrors(difference.responses) + SumOfFailed(difference.grpc_statuses);
  const std::uint64_t low = failed + difference.bare_errors_low;
  const std::uint64_t high = failed + difference.bare_errors_high;
  const std::uint64_t saved = difference.retry_success;
  switch (view) {
    case View::kFirstTry:
      return Bounded(difference.completed, low + saved - DoubtfulFirstTries(difference, retries),
                     high + saved);
    case View::kAttempts: {
      const std::uint64_t retried =
          SumOfServerErrors(difference.retried_responses) + difference.grpc_retries;
      return Bounded(difference.completed + difference.retries,
                     low + retried - DoubtfulGrpcRetries(difference, retries), high + retried);
    }
    case View::kRequests:
      break;
  }
  return Bounded(difference.completed, low, high);
}

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
