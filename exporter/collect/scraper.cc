#include "exporter/collect/scraper.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "exporter/base/log.h"
#include "exporter/collect/page_check.h"
#include "exporter/collect/reading.h"
#include "exporter/envoy/applied_weights.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::collect {
namespace {

using base::milliseconds;
using base::MonotonicTime;
using base::Page;
using base::PageOutcome;
using Clock = std::chrono::steady_clock;

constexpr std::array kDurationBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                     0.1,   0.25,   0.5,   1.0,  2.5,   5.0};
// What is due within this time begins together: fewer wake-ups, and more for each of them.
constexpr milliseconds kBatch{10};
// The last tenth of a round is for the answers of those that are asked last.
constexpr double kSpreadOver = 0.9;
constexpr std::uint32_t kSidecarsInPool = 200;
// Where this process cannot keep up, it asks everybody less often, instead of asking all at once
// and then taking its own slowness for theirs. Those that failed last time do not count: thousands
// that hang must not keep the others from being asked.
constexpr std::size_t kMostUnderWay = 500;
// For Consul, our own clients and logs.
constexpr std::size_t kOtherFiles = 256;
// Whole pages, of which thousands at once would fill the memory.
constexpr std::size_t kLargePage = 1u << 20u;
constexpr std::size_t kMostLargeUnderWay = 8;
// So many rounds in a row that were not over in time are no accident.
constexpr int kRoundsBehind = 5;

// As base::Describe, for messages.
std::string NameOf(const ScrapeTarget& target, bool dump) {
  const std::string_view page = target.admin ? "/stats/prometheus" : "/metrics";
  return fmt::format("GET http://{}{}", target.address, dump ? "/config_dump" : page);
}

}  // namespace

Scraper::Scraper(base::IoLoop& loop, const CollectorOptions& options,
                 std::function<void()> on_round, consul::Place place)
    : loop_(loop), options_(options), on_round_(std::move(on_round)), place_(std::move(place)) {
  for (const double bound : kDurationBounds) stats_.duration_buckets[bound] = 0;
  stats_.duration_buckets[std::numeric_limits<double>::infinity()] = 0;
}

Scraper::~Scraper() {
  loop_.Cancel(round_timer_);
  loop_.Cancel(read_timer_);
  while (!sidecars_.empty()) RemoveSidecar(*sidecars_.begin()->second);
}

void Scraper::Start() {
  started_ = true;
  round_began_at_ = Clock::now() - options_.interval;
  BeginRound();
}

void Scraper::BeginRound() {
  // Always at the same moments, unless the process did not get to run.
  const MonotonicTime now = Clock::now();
  round_began_at_ += options_.interval;
  if (now - round_began_at_ > options_.interval) round_began_at_ = now;
  const auto left = std::chrono::ceil<milliseconds>(round_began_at_ + options_.interval - now);
  round_timer_ = loop_.After(left, [this] {
    EndRound();
    BeginRound();
  });
  CountRoundsBehind();
  round_open_ = true;
  AwaitRound();
  ReadDue();
}

// Everybody is asked less often then, which only the age of the readings tells otherwise.
void Scraper::CountRoundsBehind() {
  const bool was_behind = rounds_behind_ >= kRoundsBehind;
  rounds_behind_ = next_ < order_.size() ? rounds_behind_ + 1 : 0;
  if (was_behind == (rounds_behind_ >= kRoundsBehind)) return;
  base::Log(was_behind ? base::LogLevel::kInfo : base::LogLevel::kWarn,
            was_behind ? "sidecars are read in time again"
                       : "cannot read all sidecars within the interval",
            {{"sidecars", std::to_string(order_.size())},
             {"interval_ms", std::to_string(options_.interval.count())}});
}

void Scraper::AwaitRound() {
  for (const bool failing : {false, true}) {
    for (const auto& [id, sidecar] : sidecars_) {
      const bool asked = sidecar->transfer == 0 && !IsLeftAlone(*sidecar);
      if (asked && sidecar->is_failing == failing) Await(*sidecar);
    }
    if (awaited_ > 0) return;
  }
}

void Scraper::Await(Sidecar& sidecar) {
  if (!std::exchange(sidecar.is_awaited, true)) ++awaited_;
}

void Scraper::Unawait(Sidecar& sidecar) {
  if (std::exchange(sidecar.is_awaited, false)) --awaited_;
}

void Scraper::EndRoundIfComplete() {
  if (awaited_ == 0) EndRound();
}

void Scraper::EndRound() {
  if (!std::exchange(round_open_, false)) return;
  if (awaited_ > 0) {
    for (const auto& [id, sidecar] : sidecars_) sidecar->is_awaited = false;
    awaited_ = 0;
  }
  on_round_();
}

MonotonicTime Scraper::MomentOf(const Sidecar& sidecar) const {
  if (ReadsTogether()) return turn_began_at_;
  return turn_began_at_ + std::chrono::duration_cast<Clock::duration>(
                              options_.interval * (kSpreadOver * sidecar.phase));
}

bool Scraper::IsLeftAlone(const Sidecar& sidecar) const {
  return Clock::now() + options_.interval / 2 < sidecar.retry_at;
}

// Everybody's turn comes once a round; where that takes longer, the rest comes first in the next.
void Scraper::ReadDue() {
  loop_.Cancel(std::exchange(read_timer_, 0));
  const MonotonicTime now = Clock::now();
  while (under_way_ < kMostUnderWay) {
    if (next_ == order_.size() && turn_began_at_ < round_began_at_) {
      next_ = 0;
      turn_began_at_ = round_began_at_;
    }
    if (next_ == order_.size() || MomentOf(*order_[next_]) > now) break;
    Sidecar& sidecar = *order_[next_];
    const bool must_wait = sidecar.is_large && large_under_way_ >= kMostLargeUnderWay;
    if (must_wait && !sidecar.is_failing) break;
    ++next_;
    // One that is still being waited for from the last round gets no second request.
    if (sidecar.transfer != 0) continue;
    if (must_wait || IsLeftAlone(sidecar)) {
      Unawait(sidecar);
    } else {
      Begin(sidecar);
    }
  }
  if (next_ < order_.size()) {
    const auto wait = std::chrono::ceil<milliseconds>(MomentOf(*order_[next_]) - now);
    read_timer_ = loop_.After(std::max(wait, kBatch), [this] { ReadDue(); });
  }
  EndRoundIfComplete();
}

void Scraper::SetTargets(const std::map<std::string, ScrapeTarget>& targets) {
  std::vector<Sidecar*> past;
  for (const auto& [id, sidecar] : sidecars_) {
    const auto it = targets.find(id);
    if (it == targets.end() || it->second != sidecar->target) past.push_back(sidecar.get());
  }
  for (Sidecar* sidecar : past) RemoveSidecar(*sidecar);
  std::vector<Sidecar*> added;
  for (const auto& [id, target] : targets) {
    if (!sidecars_.contains(id)) added.push_back(&AddSidecar(id, target));
  }
  if (past.empty() && added.empty()) return;
  Arrange();
  CheckFileLimit();
  if (!started_) return;
  if (ReadsTogether()) {
    for (Sidecar* sidecar : added) ReadInRoundOfItsOwn(*sidecar);
  }
  ReadDue();
}

// So that it is published as soon as it is there.
void Scraper::ReadInRoundOfItsOwn(Sidecar& sidecar) {
  round_open_ = true;
  Await(sidecar);
  if (sidecar.transfer == 0) Begin(sidecar);
}

void Scraper::SetPassing(const std::string& id, bool passing) {
  const auto it = sidecars_.find(id);
  if (it == sidecars_.end()) return;
  Sidecar& sidecar = *it->second;
  const std::optional<bool> before = std::exchange(sidecar.passing, passing);
  if (!before || *before == passing || sidecar.failures_to_connect == 0) return;
  sidecar.failures_to_connect = 0;
  sidecar.retry_at = MonotonicTime();
  if (started_ && ReadsTogether()) ReadInRoundOfItsOwn(sidecar);
}

Scraper::Sidecar& Scraper::AddSidecar(const std::string& id, const ScrapeTarget& target) {
  auto sidecar = std::make_unique<Sidecar>();
  sidecar->id = id;
  sidecar->target = target;
  sidecar->phase = PhaseOf(id);
  sidecar->request = MakeRequest(PageUrl(target), TakePlace());
  Sidecar& added = *sidecar;
  sidecars_[id] = std::move(sidecar);
  return added;
}

void Scraper::RemoveSidecar(Sidecar& sidecar) {
  loop_.Cancel(sidecar.transfer);
  if (sidecar.is_counted) --under_way_;
  if (sidecar.is_counted_large) --large_under_way_;
  Unawait(sidecar);
  if (sidecar.is_unfiltered) --unfiltered_;
  GiveUpPlace(sidecar.request.pool);
  readings_.erase(sidecar.id);
  const auto it = sidecars_.find(sidecar.id);
  sidecars_.erase(it);
}

// Those whose moment in this round is over count as asked.
void Scraper::Arrange() {
  order_.clear();
  order_.reserve(sidecars_.size());
  for (const auto& [id, sidecar] : sidecars_) order_.push_back(sidecar.get());
  std::stable_sort(order_.begin(), order_.end(),
                   [](const Sidecar* a, const Sidecar* b) { return a->phase < b->phase; });
  const MonotonicTime now = Clock::now();
  next_ = static_cast<std::size_t>(
      std::partition_point(order_.begin(), order_.end(),
                           [&](const Sidecar* sidecar) { return MomentOf(*sidecar) <= now; }) -
      order_.begin());
}

std::uint32_t Scraper::TakePlace() {
  std::size_t pool = 0;
  while (pool < places_taken_.size() && places_taken_[pool] == kSidecarsInPool) ++pool;
  if (pool == places_taken_.size()) places_taken_.push_back(0);
  ++places_taken_[pool];
  return static_cast<std::uint32_t>(pool + 1);  // 0 is everybody else's
}

void Scraper::GiveUpPlace(std::uint32_t pool) {
  if (--places_taken_[pool - 1] == 0) loop_.ClosePool(pool);
}

void Scraper::CheckFileLimit() {
  const std::size_t needed = sidecars_.size() + kOtherFiles;
  const std::size_t limit = base::IoLoop::OpenFileLimit();
  if (std::exchange(limit_told_, needed > limit) || !limit_told_) return;
  base::Log(base::LogLevel::kWarn,
            "too few open files are allowed for a connection to each sidecar",
            {{"limit", std::to_string(limit)}, {"needed", std::to_string(needed)}});
}

base::HttpRequest Scraper::MakeRequest(std::string url, std::uint32_t pool) const {
  base::HttpRequest request;
  request.url = std::move(url);
  request.connect_timeout = options_.scrape_timeout;
  request.timeout = options_.scrape_timeout;
  request.max_response_bytes = options_.max_page_bytes;
  request.pool = pool;
  return request;
}

void Scraper::Begin(Sidecar& sidecar) {
  sidecar.started_at = Clock::now();
  sidecar.error.clear();
  sidecar.is_counted = !sidecar.is_failing;
  under_way_ += sidecar.is_counted ? 1 : 0;
  sidecar.is_counted_large = sidecar.is_large;
  large_under_way_ += sidecar.is_large ? 1 : 0;
  sidecar.transfer =
      loop_.Read(sidecar.request, [this, &sidecar](const Page& page) { OnPage(sidecar, page); });
}

void Scraper::OnPage(Sidecar& sidecar, const Page& page) {
  CountDuration(sidecar.started_at);
  if (page.outcome == PageOutcome::kNotConnected) {
    sidecar.retry_at = sidecar.started_at + BackOff(++sidecar.failures_to_connect);
  } else {
    sidecar.failures_to_connect = 0;
  }
  if (page.outcome == PageOutcome::kAnswered) sidecar.is_large = page.body.size() > kLargePage;
  if (page.outcome == PageOutcome::kTooLarge) sidecar.is_large = true;
  std::optional<PageFailure> failure = FailureOf(page);
  if (!failure) failure = TakePage(sidecar, page);
  if (failure) Fail(sidecar, *failure, /*dump=*/false);
  if (!sidecar.target.admin) return Finish(sidecar);
  if (page.outcome == PageOutcome::kNotConnected || page.outcome == PageOutcome::kTimedOut) {
    ReadingOf(sidecar).applied.clear();  // as in OnDump()
    return Finish(sidecar);
  }
  // Only now: the connection serves both.
  sidecar.transfer = loop_.Read(MakeRequest(RouteDumpUrl(sidecar.target), sidecar.request.pool),
                                [this, &sidecar](const Page& dump) { OnDump(sidecar, dump); });
}

std::optional<PageFailure> Scraper::TakePage(Sidecar& sidecar, const Page& page) {
  NoteFilter(sidecar, page.body);
  envoy::SidecarPage read =
      envoy::ReadSidecarPage(page.body, envoy::FormatOf(page.content_type), place_);
  std::optional<PageFailure> failure = FailureOf(read, page.content_type);
  if (failure) return failure;  // and memory is set aside for nothing of its kind
  sidecar.request.expected_bytes = page.body.size();
  if (read.bad_line_count + read.duplicate_count > 0) ++stats_.errors_by_reason["parse"];
  collect::TakePage(std::move(read), Clock::now(), ReadingOf(sidecar));
  return std::nullopt;
}

// An Envoy that does not know `filter=`, or something before it that drops the query, sends
// everything it has. It is read all the same, at a hundred times the cost.
void Scraper::NoteFilter(Sidecar& sidecar, std::string_view body) {
  const bool unfiltered = IsUnfiltered(body);
  if (std::exchange(sidecar.is_unfiltered, unfiltered) == unfiltered) return;
  unfiltered ? ++unfiltered_ : --unfiltered_;
  if (unfiltered && unfiltered_ == 1) {
    base::Log(base::LogLevel::kWarn, "sidecar ignores the filter, its whole page is read",
              {{"sidecar", sidecar.id},
               {"url", "http://" + sidecar.target.address},
               {"bytes", std::to_string(body.size())}});
  } else if (!unfiltered && unfiltered_ == 0) {
    base::Log(base::LogLevel::kInfo, "no sidecar ignores the filter any more");
  }
}

void Scraper::OnDump(Sidecar& sidecar, const Page& page) {
  SidecarReading& reading = ReadingOf(sidecar);
  std::optional<PageFailure> failure = FailureOf(page);
  if (!failure) {
    auto applied = envoy::ReadAppliedWeights(page.body, place_);
    if (applied) {
      reading.applied = *std::move(applied);
      reading.applied_at = Clock::now();
      return Finish(sidecar);
    }
    failure = PageFailure{"parse", applied.error().message};
  }
  // Old weights must not pass for what the sidecar applies now.
  reading.applied.clear();
  Fail(sidecar, *failure, /*dump=*/true);
  Finish(sidecar);
}

void Scraper::Finish(Sidecar& sidecar) {
  sidecar.transfer = 0;
  if (std::exchange(sidecar.is_counted, false)) --under_way_;
  if (std::exchange(sidecar.is_counted_large, false)) --large_under_way_;
  sidecar.is_failing = !sidecar.error.empty();
  ReadingOf(sidecar).error = std::move(sidecar.error);
  if (!sidecar.is_awaited) return;
  Unawait(sidecar);
  EndRoundIfComplete();
}

// The first reason stands: the others often follow from it.
void Scraper::Fail(Sidecar& sidecar, const PageFailure& failure, bool dump) {
  ++stats_.errors_by_reason[std::string(failure.reason)];
  if (!sidecar.error.empty()) return;
  sidecar.error = fmt::format("{}: {}", NameOf(sidecar.target, dump), failure.text);
}

SidecarReading& Scraper::ReadingOf(Sidecar& sidecar) {
  if (sidecar.reading == nullptr) sidecar.reading = &readings_[sidecar.id];
  return *sidecar.reading;
}

void Scraper::CountDuration(MonotonicTime started_at) {
  const double seconds = std::chrono::duration<double>(Clock::now() - started_at).count();
  ++stats_.scrapes;
  stats_.duration_sum_seconds += seconds;
  for (auto it = stats_.duration_buckets.lower_bound(seconds); it != stats_.duration_buckets.end();
       ++it) {
    ++it->second;
  }
}

}  // namespace consul_canary::collect
