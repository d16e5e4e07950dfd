#include "exporter/collect/scraper.h"

#include <limits>
#include <utility>

#include "exporter/envoy/applied_weights.h"

namespace consul_canary::collect {
namespace {

using base::HttpResponse;
using base::Result;
using Clock = std::chrono::steady_clock;

constexpr double kDurationBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                      0.1,   0.25,   0.5,   1,    2.5,   5};

struct Failure {
  std::string reason;  // the label of sidecar_scrape_errors_total
  std::string text;
};

// nullopt: a complete answer with status 200.
std::optional<Failure> FailureOf(const Result<HttpResponse>& answer, const std::string& what) {
  if (!answer) {
    const base::Error& error = answer.error();
    if (error.code == base::ErrorCode::kInvalid) return Failure{"size", error.message};
    // libcurl's words: "Connection timed out after …", "Operation timed out after …".
    const bool late = error.message.find("timed out") != std::string::npos ||
                      error.message.find("imeout") != std::string::npos;
    return Failure{late ? "timeout" : "connect", error.message};
  }
  if (answer->status != 200) {
    return Failure{"status", what + ": status " + std::to_string(answer->status)};
  }
  return std::nullopt;
}

}  // namespace

Scraper::Scraper(base::IoLoop& loop, const CollectorOptions& options,
                 std::function<void()> on_round)
    : loop_(loop), options_(options), on_round_(std::move(on_round)) {
  for (const double bound : kDurationBounds) stats_.duration_buckets[bound] = 0;
  stats_.duration_buckets[std::numeric_limits<double>::infinity()] = 0;
}

Scraper::~Scraper() {
  loop_.Cancel(timer_);
  while (!exchanges_.empty()) CancelExchange(exchanges_.begin()->first);
}

void Scraper::Start() {
  started_ = true;
  BeginRound();
}

void Scraper::SetTargets(std::map<std::string, ScrapeTarget> targets) {
  const std::map<std::string, ScrapeTarget> previous = std::exchange(targets_, std::move(targets));
  for (const auto& [id, target] : previous) {
    const auto it = targets_.find(id);
    if (it != targets_.end() && it->second == target) continue;
    CancelExchange(id);
    readings_.erase(id);
  }
  if (!started_) return;
  for (const auto& [id, target] : targets_) {
    if (readings_.contains(id) || exchanges_.contains(id)) continue;
    round_open_ = true;  // so that the first reading is published as soon as it is there
    StartExchange(id, target);
  }
}

void Scraper::BeginRound() {
  timer_ = loop_.After(options_.interval, [this] {
    EndRound();
    BeginRound();
  });
  round_open_ = true;
  for (const auto& [id, target] : targets_) {
    // One that is still being waited for from the last round gets no second request.
    if (!exchanges_.contains(id)) StartExchange(id, target);
  }
  if (exchanges_.empty()) EndRound();
}

void Scraper::EndRound() {
  if (!std::exchange(round_open_, false)) return;
  on_round_();
}

base::HttpRequest Scraper::MakeRequest(std::string url) const {
  base::HttpRequest request;
  request.url = std::move(url);
  request.connect_timeout = options_.scrape_timeout;
  request.timeout = options_.scrape_timeout;
  request.max_response_bytes = options_.max_page_bytes;
  return request;
}

void Scraper::StartExchange(const std::string& id, const ScrapeTarget& target) {
  Exchange& exchange = exchanges_[id];
  exchange.started_at = Clock::now();
  exchange.page =
      loop_.Start(MakeRequest(PageUrl(target)),
                  [this, id](Result<HttpResponse> answer) { OnPage(id, std::move(answer)); });
  if (!target.admin) return;
  exchange.dump =
      loop_.Start(MakeRequest(RouteDumpUrl(target)),
                  [this, id](Result<HttpResponse> answer) { OnDump(id, std::move(answer)); });
}

void Scraper::CancelExchange(const std::string& id) {
  const auto it = exchanges_.find(id);
  if (it == exchanges_.end()) return;
  loop_.Cancel(it->second.page);
  loop_.Cancel(it->second.dump);
  exchanges_.erase(it);
}

void Scraper::OnPage(const std::string& id, Result<HttpResponse> answer) {
  Exchange& exchange = exchanges_.at(id);
  exchange.page = 0;
  CountDuration(exchange.started_at);
  const std::string url = "GET http://" + targets_.at(id).address;
  if (const std::optional<Failure> failure = FailureOf(answer, url)) {
    CountError(failure->reason);
    exchange.error = failure->text;
    return FinishIfAnswered(id);
  }
  auto page = std::make_shared<envoy::SidecarPage>(envoy::ReadSidecarPage(answer->body));
  if (page->bad_line_count > 0) CountError("parse");
  if (page->bad_line_count > 0 && page->subsets.empty() && !page->local_app) {
    exchange.error = url + ": not a page of Envoy's, " + page->bad_lines.front();
  } else {
    SidecarReading& reading = readings_[id];
    reading.page = std::move(page);
    reading.scraped_at = Clock::now();
  }
  FinishIfAnswered(id);
}

void Scraper::OnDump(const std::string& id, Result<HttpResponse> answer) {
  Exchange& exchange = exchanges_.at(id);
  exchange.dump = 0;
  SidecarReading& reading = readings_[id];
  const std::string url = "GET http://" + targets_.at(id).address + "/config_dump";
  std::optional<Failure> failure = FailureOf(answer, url);
  if (!failure) {
    auto applied = envoy::ReadAppliedWeights(answer->body);
    if (applied) {
      reading.applied = *std::move(applied);
      reading.applied_at = Clock::now();
      return FinishIfAnswered(id);
    }
    failure = Failure{"parse", url + ": " + applied.error().message};
  }
  // Old weights must not pass for what the sidecar applies now.
  reading.applied.clear();
  CountError(failure->reason);
  if (exchange.error.empty()) exchange.error = failure->text;
  FinishIfAnswered(id);
}

void Scraper::FinishIfAnswered(const std::string& id) {
  const auto it = exchanges_.find(id);
  if (it->second.page != 0 || it->second.dump != 0) return;
  readings_[id].error = std::move(it->second.error);
  exchanges_.erase(it);
  if (exchanges_.empty()) EndRound();
}

void Scraper::CountError(const std::string& reason) { ++stats_.errors_by_reason[reason]; }

void Scraper::CountDuration(base::MonotonicTime started_at) {
  const double seconds = std::chrono::duration<double>(Clock::now() - started_at).count();
  ++stats_.scrapes;
  stats_.duration_sum_seconds += seconds;
  for (auto& [bound, count] : stats_.duration_buckets) {
    if (seconds <= bound) ++count;
  }
}

}  // namespace consul_canary::collect
