// Reads every sidecar once an interval. A sidecar that hangs or errs keeps its last reading and
// gets an error; it delays nobody. Lives on the IoLoop's thread alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "exporter/base/io_loop.h"
#include "exporter/collect/collector.h"
#include "exporter/collect/targets.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::collect {

// The newest of what one sidecar said.
struct SidecarReading {
  std::optional<base::MonotonicTime> scraped_at;  // when `page` came
  std::string error;                              // of the last try; empty: it succeeded
  std::shared_ptr<const envoy::SidecarPage> page;
  std::map<std::string, std::map<std::string, double>> applied;  // service → subset → share
  std::optional<base::MonotonicTime> applied_at;
};

class Scraper {
 public:
  // `on_round` is called when every sidecar of a round has answered or failed, or when the interval
  // ends before that; once a round. `loop` must outlive this.
  Scraper(base::IoLoop& loop, const CollectorOptions& options, std::function<void()> on_round);
  ~Scraper();  // cancels what is under way
  Scraper(const Scraper&) = delete;
  Scraper& operator=(const Scraper&) = delete;

  void Start();

  // By sidecar id. Readings of sidecars that are not in it any more are forgotten; new ones are
  // read at once, not at the next round.
  void SetTargets(std::map<std::string, ScrapeTarget> targets);

  [[nodiscard]] const std::map<std::string, SidecarReading>& readings() const { return readings_; }
  [[nodiscard]] const ScrapeStats& stats() const { return stats_; }

 private:
  // One sidecar's requests that are under way.
  struct Exchange {
    base::IoLoop::Id page = 0;  // 0: answered
    base::IoLoop::Id dump = 0;
    base::MonotonicTime started_at;
    std::string error;
  };

  void BeginRound();
  void EndRound();
  void StartExchange(const std::string& id, const ScrapeTarget& target);
  void CancelExchange(const std::string& id);
  [[nodiscard]] base::HttpRequest MakeRequest(std::string url) const;
  void OnPage(const std::string& id, base::Result<base::HttpResponse> answer);
  void OnDump(const std::string& id, base::Result<base::HttpResponse> answer);
  void FinishIfAnswered(const std::string& id);
  void CountError(const std::string& reason);
  void CountDuration(base::MonotonicTime started_at);

  base::IoLoop& loop_;
  CollectorOptions options_;
  std::function<void()> on_round_;
  std::map<std::string, ScrapeTarget> targets_;
  std::map<std::string, SidecarReading> readings_;
  std::map<std::string, Exchange> exchanges_;
  ScrapeStats stats_;
  base::IoLoop::Id timer_ = 0;
  bool started_ = false;
  bool round_open_ = false;
};

}  // namespace consul_canary::collect
