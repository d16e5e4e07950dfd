#include "deploy/demo/play.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/wait.h"

namespace consul_canary::demo {
namespace {

using base::ErrorCode;
using base::Fail;
using base::MonotonicTime;
using base::Result;
using testing::milliseconds;
using testing::seconds;
using testing::WaitUntil;

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

double SecondsBetween(MonotonicTime from, MonotonicTime to) {
  return std::chrono::duration<double>(to - from).count();
}

// Watches one rollout: looks at the splitter often, at the analyzer's word now and then, and sets
// the fault when its time has come.
class Watcher {
 public:
  Watcher(Stage& stage, const Options& options, Progress& progress)
      : stage_(stage), options_(options), progress_(progress) {}

  // One look; true when the rollout has ended.
  bool Look() {
    LookAtSplitter();
    if (!fault_time_ && FaultIsDue()) SetFault();
    if (options_.scenario.outage && fault_time_ && Now() - *fault_time_ > seconds(30)) return true;
    if (Now() - last_status_ < milliseconds(200)) return false;
    last_status_ = Now();
    return LookAtStatus();
  }

  [[nodiscard]] const std::string& phase() const { return phase_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

  [[nodiscard]] std::optional<MonotonicTime> fault_time() const { return fault_time_; }

  [[nodiscard]] std::optional<double> FaultToSplitter() const {
    if (!fault_time_ || !back_time_) return std::nullopt;
    return SecondsBetween(*fault_time_, *back_time_);
  }

 private:
  void LookAtSplitter() {
    const auto weights = stage_.mesh().Weights();
    const auto canary = weights.find("canary");
    if (canary == weights.end()) return;
    if (canary->second > 0 && !first_weight_time_) first_weight_time_ = Now();
    if (canary->second == 0 && fault_time_ && !back_time_) {
      back_time_ = Now();
      progress_.Say(fmt::format("the splitter is back at 100/0, {:.1f} s after the fault",
                                *FaultToSplitter()));
    }
  }

  [[nodiscard]] bool FaultIsDue() const {
    // The first step's warm-up, and a moment more for the sidecars to apply the weight.
    return !options_.scenario.fault.empty() && first_weight_time_ &&
           Now() - *first_weight_time_ > milliseconds(5500);
  }

  void SetFault() {
    const bool both = options_.scenario.outage;
    const Result<void> set = stage_.mesh().Control("v2", options_.scenario.fault).and_then([&] {
      return both ? stage_.mesh().Control("v1", options_.scenario.fault) : Result<void>();
    });
    if (!set) {
      problem_ = set.error().message;
      return;
    }
    fault_time_ = Now();
    progress_.Say(fmt::format("{} made to fail: {}", both ? "v1 and v2 are" : "v2 is",
                              options_.scenario.fault));
  }

  bool LookAtStatus() {
    const auto body =
        stage_.mesh().consul().http().Get(stage_.analyzer_address() + "/api/v1/rollouts/api");
    const std::optional<Status> status = body ? ParseStatus(*body) : std::nullopt;
    if (!status) return false;
    const testing::LoadCounts counts = stage_.load().Counts();
    progress_.Show(*status, counts.completed, counts.failed);
    phase_ = status->phase;
    return status->Finished();
  }

  Stage& stage_;
  const Options& options_;
  Progress& progress_;
  std::optional<MonotonicTime> first_weight_time_;
  std::optional<MonotonicTime> fault_time_;
  std::optional<MonotonicTime> back_time_;
  MonotonicTime last_status_{};
  std::string phase_;
  std::string problem_;
};

std::optional<std::int64_t> SavedRequests(Stage& stage) {
  const auto body =
      stage.mesh().consul().http().Get(stage.analyzer_address() + "/api/v1/rollouts/api");
  const auto rollout = nlohmann::json::parse(body.value_or(""), nullptr, false);
  const auto saved = nlohmann::json::json_pointer("/evidence/shield/saved_requests");
  if (!rollout.is_object() || !rollout.contains(saved)) return std::nullopt;
  return rollout.at(saved).get<std::int64_t>();
}

std::string OutcomeOf(const std::string& phase) {
  if (phase == "succeeded") return "promoted";
  return phase == "rolled-back" ? phase : "unfinished";
}

// v1 alone, so that there is something to compare with.
Result<void> PlayBaseline(Stage& stage, Progress& progress,
                          const std::function<bool()>& interrupted) {
  progress.Say("10 s of v1 alone");
  const MonotonicTime start = Now();
  const bool passed =
      WaitUntil([&] { return Now() - start >= seconds(10) || interrupted(); }, seconds(11));
  if (interrupted() || !passed) return Fail(ErrorCode::kUnavailable, "interrupted");
  const testing::LoadCounts counts = stage.load().Counts();
  if (counts.completed > 0) return {};
  return Fail(ErrorCode::kUnavailable,
              fmt::format("no request was answered at {}", stage.mesh().url()));
}

}  // namespace

std::string ToJson(std::string_view scenario, const Outcome& outcome) {
  const auto rounded = [](double value) { return std::round(value * 100) / 100; };
  nlohmann::ordered_json line = {{"scenario", scenario},
                                 {"outcome", outcome.outcome},
                                 {"seconds", rounded(outcome.seconds)},
                                 {"requests", outcome.requests},
                                 {"failed_requests", outcome.failed_requests},
                                 {"seconds_from_fault_to_splitter", nullptr}};
  if (outcome.seconds_from_fault_to_splitter) {
    line["seconds_from_fault_to_splitter"] = rounded(*outcome.seconds_from_fault_to_splitter);
  }
  line["p99_ms"] = rounded(outcome.from_deployment.p99_ms);
  if (outcome.from_fault) {
    line["requests_from_fault"] = outcome.from_fault->completed;
    line["failed_from_fault"] = outcome.from_fault->failed;
  }
  if (outcome.saved_requests) line["saved_requests"] = *outcome.saved_requests;
  return line.dump();
}

Result<Outcome> Play(Stage& stage, const Options& options, Progress& progress,
                     const std::function<bool()>& interrupted) {
  if (const auto baseline = PlayBaseline(stage, progress, interrupted); !baseline) {
    return tl::unexpected(baseline.error());
  }
  progress.Say("deploying v2");
  const MonotonicTime start = Now();
  for (int i = 0; i < options.instances; ++i) {
    const Result<std::string> deployed = stage.mesh().AddInstance("v2");
    if (!deployed) return tl::unexpected(deployed.error());
  }
  const auto base =
      stage.mesh().Control("v2", fmt::format("failure_ratio={}", options.base_failures));
  if (!base) return tl::unexpected(base.error());

  Watcher watcher(stage, options, progress);
  bool ended = false;
  const auto done = [&] {
    return interrupted() || !watcher.problem().empty() || (ended = watcher.Look());
  };
  (void)WaitUntil(done, seconds(options.limit_seconds), milliseconds(50));
  if (interrupted()) return Fail(ErrorCode::kUnavailable, "interrupted");
  if (!watcher.problem().empty()) return Fail(ErrorCode::kUnavailable, watcher.problem());

  Outcome outcome{.outcome = ended ? OutcomeOf(watcher.phase()) : "unfinished",
                  .seconds = SecondsBetween(start, Now())};
  if (options.keep) {
    (void)stage.load().WaitForMore(static_cast<std::int64_t>(options.rate), seconds(3));
  } else {
    stage.load().Stop();
  }
  const testing::LoadCounts counts = stage.load().Counts();
  outcome.requests = counts.completed;
  outcome.failed_requests = counts.failed;
  outcome.seconds_from_fault_to_splitter = watcher.FaultToSplitter();
  outcome.from_deployment = stage.load().Since(start);
  if (watcher.fault_time()) outcome.from_fault = stage.load().Since(*watcher.fault_time());
  if (options.shield) outcome.saved_requests = SavedRequests(stage);
  return outcome;
}

}  // namespace consul_canary::demo
