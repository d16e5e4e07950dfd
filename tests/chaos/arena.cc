#include "tests/chaos/arena.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <future>
#include <thread>

namespace consul_canary::testing {
namespace {

using base::Result;

constexpr double kFailing = 0.3;
constexpr milliseconds kPatience{60'000};  // after the last fault

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

}  // namespace

bool RoundResult::good() const {
  return violations.empty() && std::all_of(runs.begin(), runs.end(), [](const RunResult& run) {
           return run.violations.empty();
         });
}

Result<std::unique_ptr<Arena>> Arena::Start(std::size_t lanes) {
  if (kFakesClocks && !std::filesystem::exists(kFaketime)) {
    return base::Fail(base::ErrorCode::kNotFound,
                      fmt::format("{} is missing; deploy/install-dependencies --for tests installs "
                                  "it",
                                  kFaketime));
  }
  auto arena = std::make_unique<Arena>();
  auto cluster = Cluster::Start();
  if (!cluster) return tl::unexpected(cluster.error());
  arena->cluster_ = std::move(*cluster);
  arena->watcher_ = std::make_unique<Watcher>(*arena->cluster_);
  std::vector<std::future<Result<std::unique_ptr<Lane>>>> starting;
  for (std::size_t i = 0; i < lanes; ++i) {
    starting.push_back(std::async(
        std::launch::async, [&arena, i] { return Lane::Start(arena->cluster_->client(), i + 1); }));
  }
  const Result<void> analyzers = arena->StartAnalyzers();
  Result<void> up = analyzers;
  for (auto& start : starting) {
    auto lane = start.get();
    if (!lane) up = tl::unexpected(lane.error());
    if (lane) arena->lanes_.push_back(std::move(*lane));
  }
  if (up) up = arena->ApplySpecifications();
  if (!up) {
    arena->cluster_->KeepLogs();
    return tl::unexpected(up.error());
  }
  return arena;
}

Arena::~Arena() {
  for (std::size_t i = 0; i < kAnalyzers; ++i) {
    if (analyzers_.at(i)) KillAnalyzer(i);
  }
}

Result<void> Arena::StartAnalyzers() {
  for (std::size_t i = 0; i < kAnalyzers; ++i) {
    ConsulAgent& server = cluster_->server(i);
    const int port = server.ports().Next();
    const std::string& address = server.address();
    links_.at(i) =
        std::make_unique<FaultProxy>(port, std::stoi(address.substr(address.rfind(':') + 1)));
    const std::string name = fmt::format("analyzer-{}", i + 1);
    SkewClock(i, 0);
    auto analyzer =
        StartAnalyzer(server, {"--analyzer.id", name}, name,
                      {{"CONSUL_HTTP_ADDR", fmt::format("http://127.0.0.1:{}", port)},
                       {"LD_PRELOAD", kFakesClocks ? kFaketime : ""},
                       {"FAKETIME_TIMESTAMP_FILE", (server.folder().path() / kClockFile).string()},
                       {"FAKETIME_CACHE_DURATION", "1"},
                       {"FAKETIME_DONT_FAKE_MONOTONIC", "1"}});
    if (!analyzer) return tl::unexpected(analyzer.error());
    analyzers_.at(i) = std::move(*analyzer);
  }
  return {};
}

Result<void> Arena::ApplySpecifications() {
  for (const auto& lane : lanes_) {
    const std::string path = "/api/v1/rollouts/" + lane->service();
    const auto put = cluster_->client().http().Call("PUT", analyzers_[0]->address() + path,
                                                    lane->Specification());
    if (const auto body = BodyOf(put, "PUT " + path); !body) return tl::unexpected(body.error());
  }
  return {};
}

RoundResult Arena::Round(std::uint64_t seed, const std::set<FaultKind>& kinds, std::size_t faults) {
  Plan plan;
  plan.result.seed = seed;
  FaultPlan drawn{.seed = seed, .faults = faults, .kinds = kinds};
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    // Half of the canaries are bad, most of these only after a while; in each round another way.
    const std::uint64_t bits = (seed * 0x9E3779B97F4A7C15ULL) >> (8 + 6 * i);
    RunResult run{.service = lanes_[i]->service(), .healthy = (bits & 1U) == 0};
    if (!run.healthy && (bits & 6U) != 0)
      run.turns_bad = milliseconds(2000 + 1500 * ((bits >> 3) & 7U));
    drawn.healthy.push_back(run.healthy);
    plan.result.runs.push_back(std::move(run));
  }
  if (faults > 0) {
    for (const Fault& fault : DrawFaults(drawn)) {
      if (fault.kind == FaultKind::kClockSkew && !kFakesClocks) continue;
      plan.result.faults.push_back({.fault = fault});
    }
  }
  plan.bad_since.resize(lanes_.size());
  if (const Result<void> deployed = DeployAll(plan); !deployed) {
    plan.result.violations.push_back("no deployment: " + deployed.error().message);
    return std::move(plan.result);
  }
  plan.result.begin = Now();
  std::thread person([this, &plan] { Attend(plan); });
  Suffer(plan);
  plan.over = true;
  person.join();
  Conclude(plan);
  return std::move(plan.result);
}

Result<void> Arena::DeployAll(Plan& plan) {
  std::vector<std::future<Result<void>>> deploying;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    RunResult& run = plan.result.runs[i];
    const bool fails = !run.healthy && !run.turns_bad;
    deploying.push_back(std::async(std::launch::async, [this, i, fails, &plan] {
      const auto deployed = lanes_[i]->Deploy(fails ? kFailing : 0);
      if (fails) plan.bad_since[i] = Now();
      return deployed;
    }));
  }
  Result<void> all;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (const Result<void> one = deploying[i].get(); !one) all = one;
    plan.result.runs[i].version = lanes_[i]->version();
  }
  return all;
}

// Begins and ends the faults at their times, then waits for the rollouts.
void Arena::Suffer(Plan& plan) {
  auto& faults = plan.result.faults;
  const auto turn = [&] {
    bool all_over = true;
    for (AppliedFault& applied : faults) {
      const MonotonicTime begin = plan.result.begin + applied.fault.at;
      const bool begun = applied.begin != MonotonicTime{};
      if (!begun && Now() >= begin) {
        applied.begin = Now();
        Begin(applied);
      }
      if (applied.begin != MonotonicTime{}) KillWhoseWriteIsHeld(applied);
      const bool ended = applied.end != MonotonicTime{};
      if (!ended && Now() >= begin + applied.fault.lasts && applied.begin != MonotonicTime{}) {
        End(applied);
        applied.end = Now();
      }
      all_over = all_over && applied.end != MonotonicTime{};
    }
    return all_over;
  };
  (void)WaitUntil(turn, seconds(60));
  (void)WaitUntil([&] { return plan.ended == lanes_.size(); }, kPatience, milliseconds(100));
}

}  // namespace consul_canary::testing
