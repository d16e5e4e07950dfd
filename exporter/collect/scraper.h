// Reads every sidecar once an interval: a few together, thousands spread over the interval, each
// always at its own moment of it. A sidecar that hangs or errs keeps its last reading, which grows
// old, and gets an error; it delays nobody. One that takes no connection is asked less and less
// often. Lives on the IoLoop's thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/io_loop.h"
#include "exporter/collect/collector.h"
#include "exporter/collect/page_check.h"
#include "exporter/collect/reading.h"
#include "exporter/collect/schedule.h"
#include "exporter/collect/targets.h"

namespace consul_canary::collect {

class Scraper {
 public:
  // As many are read together when a round begins; more are spread over its first nine tenths.
  static constexpr std::size_t kReadTogether = 50;

  // A round begins each interval. `on_round` is called once for it, when every sidecar has been
  // asked and has answered or failed, or when the interval ends before that; those that failed last
  // time are not waited for, unless all have. Until there are more than kReadTogether, a new one
  // is read in a short round of its own. Of what sidecars count, destinations in `place` are kept.
  // `loop` must outlive this.
  Scraper(base::IoLoop& loop, const CollectorOptions& options, std::function<void()> on_round,
          consul::Place place = {});
  ~Scraper();  // cancels what is under way
  Scraper(const Scraper&) = delete;
  Scraper& operator=(const Scraper&) = delete;

  void Start();

  // By sidecar id. Readings of sidecars that are not in it any more are forgotten; new ones are
  // read at once, or at their next moment where there are many.
  void SetTargets(const std::map<std::string, ScrapeTarget>& targets);

  // What Consul says of a sidecar's health. A change ends the wait of one that took no connection.
  void SetPassing(const std::string& id, bool passing);

  [[nodiscard]] const std::map<std::string, SidecarReading>& readings() const { return readings_; }
  [[nodiscard]] const ScrapeStats& stats() const { return stats_; }

 private:
  struct Sidecar {
    std::string id;
    ScrapeTarget target;
    base::HttpRequest request;  // for its page
    double phase = 0;
    std::optional<bool> passing;
    SidecarReading* reading = nullptr;  // null: none yet

    // Of the exchange that is under way, if there is one.
    base::IoLoop::Id transfer = 0;
    base::MonotonicTime started_at;
    std::string error;
    bool is_counted = false;        // in under_way_
    bool is_counted_large = false;  // in large_under_way_

    bool is_awaited = false;  // the round does not end without it
    bool is_failing = false;  // the last try failed
    bool is_unfiltered = false;
    bool is_large = false;        // the last page, or its refused beginning
    int failures_to_connect = 0;  // in a row
    base::MonotonicTime retry_at;
  };

  void BeginRound();
  void EndRound();
  void EndRoundIfComplete();
  void Await(Sidecar& sidecar);
  void Unawait(Sidecar& sidecar);
  void AwaitRound();
  void CountRoundsBehind();
  void ReadDue();
  void Arrange();
  Sidecar& AddSidecar(const std::string& id, const ScrapeTarget& target);
  void RemoveSidecar(Sidecar& sidecar);
  void ReadInRoundOfItsOwn(Sidecar& sidecar);
  [[nodiscard]] bool ReadsTogether() const { return sidecars_.size() <= kReadTogether; }
  [[nodiscard]] base::MonotonicTime MomentOf(const Sidecar& sidecar) const;
  [[nodiscard]] bool IsLeftAlone(const Sidecar& sidecar) const;
  [[nodiscard]] base::HttpRequest MakeRequest(std::string url, std::uint32_t pool) const;
  [[nodiscard]] std::uint32_t TakePlace();
  void GiveUpPlace(std::uint32_t pool);
  void Begin(Sidecar& sidecar);
  void OnPage(Sidecar& sidecar, const base::Page& page);
  void OnDump(Sidecar& sidecar, const base::Page& page);
  [[nodiscard]] std::optional<PageFailure> TakePage(Sidecar& sidecar, const base::Page& page);
  void Finish(Sidecar& sidecar);
  void Fail(Sidecar& sidecar, const PageFailure& failure, bool dump);
  void NoteFilter(Sidecar& sidecar, std::string_view body);
  void CheckFileLimit();
  void CountDuration(base::MonotonicTime started_at);
  SidecarReading& ReadingOf(Sidecar& sidecar);

  base::IoLoop& loop_;
  CollectorOptions options_;
  std::function<void()> on_round_;
  consul::Place place_;
  std::map<std::string, std::unique_ptr<Sidecar>> sidecars_;
  std::map<std::string, SidecarReading> readings_;
  std::vector<Sidecar*> order_;              // by phase
  std::size_t next_ = 0;                     // of order_, in this turn
  base::MonotonicTime turn_began_at_;        // with a round, if the last turn was over then
  std::vector<std::uint32_t> places_taken_;  // by pool
  std::size_t awaited_ = 0;
  std::size_t under_way_ = 0;  // of those that did not fail last time
  std::size_t large_under_way_ = 0;
  std::size_t unfiltered_ = 0;
  int rounds_behind_ = 0;  // in a row
  ScrapeStats stats_;
  base::MonotonicTime round_began_at_;
  base::IoLoop::Id round_timer_ = 0;
  base::IoLoop::Id read_timer_ = 0;
  bool started_ = false;
  bool round_open_ = false;
  bool limit_told_ = false;
};

}  // namespace consul_canary::collect
