#include "analyzer/control/record.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "analyzer/config/recording.h"
#include "analyzer/rollout/callers.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

using rollout::Observation;
using rollout::Phase;
using rollout::Stage;
using rollout::State;

std::string FileName(const std::string& id, double started_wall_seconds) {
  // A rollout that is aborted and tried again at once begins in the same second.
  constexpr int kMillisecondsPerSecond = 1000;
  const double whole = std::floor(started_wall_seconds);
  const int milliseconds =
      static_cast<int>((started_wall_seconds - whole) * kMillisecondsPerSecond);
  return fmt::format("{}-{:%Y%m%dT%H%M%S}.{:03}Z.jsonl", id,
                     fmt::gmtime(static_cast<std::time_t>(whole)), milliseconds);
}

bool HasSeenRequests(const rollout::Evidence& evidence) {
  return evidence.rollout_primary.completed > 0 || evidence.rollout_canary.completed > 0;
}

bool IsTaken(const rollout::Order& order, const RecordedLook& look) {
  return order.sequence > look.before.last_order && order.sequence <= look.outcome.state.last_order;
}

bool IsOutdated(const rollout::Order& order, const RecordedLook& look) {
  return std::ranges::any_of(look.outcome.decisions, [&order](const rollout::Decision& decision) {
    return decision.order == order.sequence && decision.cause == "outdated";
  });
}

void NoteStart(const RecordedLook& look, Recorded& recorded) {
  recorded.ordered_by.clear();
  recorded.ordered_start = look.outcome.state.started_wall_seconds;
  for (const rollout::Order& order : look.seen.orders) {
    const bool starts =
        order.kind == rollout::OrderKind::kStart || order.kind == rollout::OrderKind::kRetry;
    if (starts && IsTaken(order, look)) recorded.ordered_by = order.by;
  }
}

// In words, what holds a rollout up for which a recording has no key of its own.
std::string Unknown(const RecordedLook& look) {
  const Observation& seen = look.seen;
  if (!seen.unknown.empty()) return seen.unknown;
  if (seen.callers.empty()) return "no caller's sidecar is known and passing";
  // A few late callers of many are no obstacle, so the outcomes count as fresh.
  if (std::string stale = rollout::StaleCallers(seen); !stale.empty()) return stale;
  if (look.before.stage != Stage::kPrimaryFilter) return "";
  const std::string late =
      rollout::MembershipStragglers(look.before, seen, rollout::Subset::kPrimary);
  return late.empty() ? "" : "the primary subset's new instances are not routable yet from " + late;
}

void AddSplitter(const State& before, const Observation& seen, config::RecordedTick& tick) {
  if (!seen.splitter) return;
  constexpr double kHalfHundredth = 0.005;
  const rollout::SplitterView& splitter = *seen.splitter;
  tick.weight_percent = splitter.canary_percent;
  tick.other_percent = std::max(0.0, splitter.other_percent);
  const double wanted = before.wanted.canary_percent;
  const double primary = 100 - splitter.other_percent - wanted;
  if (std::abs(splitter.canary_percent - wanted) < kHalfHundredth &&
      std::abs(splitter.primary_percent - primary) < kHalfHundredth) {
    return;
  }
  tick.splitter = {splitter.canary_percent, splitter.primary_percent};
}

void AddRoutes(const State& before, const Observation& seen, config::RecordedTick& tick) {
  const bool placed = before.wanted.routes == rollout::Routes::kPlaced;
  const rollout::RoutesSeen wanted =
      placed ? rollout::RoutesSeen::kWhole : rollout::RoutesSeen::kNone;
  const rollout::RoutesSeen ours = seen.router ? seen.router->ours : rollout::RoutesSeen::kNone;
  if (ours != wanted) tick.routes = ours;
}

void AddMesh(const RecordedLook& look, config::RecordedTick& tick) {
  const State& before = look.before;
  const State& after = look.outcome.state;
  const Observation& seen = look.seen;
  AddSplitter(before, seen, tick);
  AddRoutes(before, seen, tick);
  tick.ready = before.stage == Stage::kPreparing && after.stage == Stage::kStepping;
  // A weight of 0 would say that the canary is still waited for.
  if (before.stage == Stage::kStepping && tick.weight_percent == 0.0) tick.weight_percent.reset();
  tick.applied = rollout::WeightStragglers(before, seen).empty();
  tick.canary_passing = seen.canary_passing;
  tick.primary_passing = seen.primary_passing > 0 ? 1 : 0;
  tick.instances_known = seen.instances_known;
  for (const rollout::CallerFacts& caller : seen.callers) {
    tick.ejections = std::max(tick.ejections, caller.canary_ejected);
  }
  tick.shield = seen.shield;
  if (tick.shield) tick.shield->lacks.clear();
  tick.doubtful = seen.doubtful;
  tick.unknown = Unknown(look);
  tick.fleet_pause = seen.fleet_pause;
  tick.splitter_unwritable = seen.splitter_unwritable;
  tick.router_unwritable = seen.router_unwritable;
  tick.resolver_unwritable = seen.resolver_unwritable;
  const auto& wanted = before.wanted;
  if (wanted.canary_filter && before.stage != Stage::kPreparing &&
      seen.canary_filter != wanted.canary_filter) {
    tick.canary_filter = seen.canary_filter.value_or("");
  }
  if (wanted.primary_filter && seen.primary_filter &&
      seen.primary_filter != wanted.primary_filter) {
    tick.primary_filter = seen.primary_filter;
  }
  // Elsewhere nothing depends on it.
  const bool ends = after.phase == Phase::kRollingBack || after.stage == Stage::kPrimaryFull;
  tick.fenced = seen.fenced || !ends;
  if (before.stage == Stage::kStepping && !before.confirmed) tick.confirmed = false;
  if (before.stage == Stage::kCanaryFull && before.confirmed) tick.confirmed = true;
}

config::RecordedTick ToRecorded(const RecordedLook& look) {
  const double start = look.before.started_wall_seconds;
  config::RecordedTick tick;
  tick.look = !look.seen.counts_known;
  tick.t = look.seen.wall_seconds - start;
  tick.elapsed_seconds = look.seen.elapsed_seconds;
  tick.unruled_seconds = look.seen.unruled_seconds;
  if (look.seen.counts_known) tick.counts = look.seen.counts;
  AddMesh(look, tick);
  for (rollout::Order order : look.seen.orders) {
    if (!IsTaken(order, look)) continue;
    // A replay counts its decisions anew: that it came too late is all that stays.
    order.seen_decisions = IsOutdated(order, look) ? std::optional<std::uint64_t>(0) : std::nullopt;
    order.sequence = 0;
    if (order.kind == rollout::OrderKind::kRollbackAlert) {
      order.alert_started_wall_seconds -= start;
    }
    tick.orders.push_back(std::move(order));
  }
  if (!look.outcome.decisions.empty()) tick.sequence = look.outcome.state.decisions;
  return tick;
}

std::string Header(const RecordedLook& look, const Recorded& recorded) {
  const rollout::Evidence& evidence = look.before.evidence;
  config::Recording header{.spec = look.spec, .primary_history = evidence.harm.primary};
  header.primary_latency_history = evidence.primary_latency;
  header.dispersion = evidence.dispersion;
  header.dispersion.open = {};
  header.attempts_together = look.seen.attempts_together;
  header.request_timeout_seconds = look.seen.request_timeout_seconds;
  if (recorded.ordered_start == look.before.started_wall_seconds) {
    header.started_by = recorded.ordered_by;
  }
  return config::RecordingHeader(header);
}

// What has changed since the lines before.
void AddChanges(const RecordedLook& look, Recorded& recorded, config::RecordedTick& tick) {
  if (recorded.start != look.before.started_wall_seconds) {
    recorded.start = look.before.started_wall_seconds;
    recorded.t = 0;
    recorded.went_back = false;
    recorded.restarted = false;
  } else {
    if (recorded.spec != look.spec) tick.spec = look.spec;
    if (recorded.attempts_together != look.seen.attempts_together) {
      tick.attempts_together = look.seen.attempts_together;
    }
    if (recorded.request_timeout_seconds != look.seen.request_timeout_seconds) {
      tick.request_timeout_seconds = look.seen.request_timeout_seconds;
    }
  }
  recorded.spec = look.spec;
  recorded.attempts_together = look.seen.attempts_together;
  recorded.request_timeout_seconds = look.seen.request_timeout_seconds;
}

// The time on the recording's clock of the last tick that the state has seen.
double SavedAt(const State& state) {
  return std::max(0.0, state.saved_wall_seconds - state.started_wall_seconds);
}

bool WriteWhole(int file, const std::string& text) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(file, text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    written += static_cast<std::size_t>(count);
  }
  return true;
}

// An error leaves the file as it was.
base::Result<void> AppendWhole(const std::filesystem::path& path, const std::string& text) {
  constexpr mode_t kMode = 0644;
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, kMode);
  if (file < 0) return base::Fail(base::ErrorCode::kUnavailable, std::strerror(errno));
  const off_t before = ::lseek(file, 0, SEEK_END);
  base::Result<void> result;
  if (!WriteWhole(file, text)) {
    result = base::Fail(base::ErrorCode::kUnavailable, std::strerror(errno));
    if (before >= 0 && ::ftruncate(file, before) != 0) {
      result = base::Fail(base::ErrorCode::kUnavailable,
                          fmt::format("a line was written in part: {}", std::strerror(errno)));
    }
  }
  ::close(file);
  return result;
}

}  // namespace

std::optional<RecordPiece> RecordLook(const std::string& id, const RecordedLook& look,
                                      Recorded& recorded) {
  if (!IsActive(look.before.phase)) {
    if (IsActive(look.outcome.state.phase)) NoteStart(look, recorded);
    return std::nullopt;
  }
  config::RecordedTick tick = ToRecorded(look);
  const bool is_tick = look.seen.elapsed_seconds > 0;
  if (!is_tick && tick.orders.empty() && look.outcome.decisions.empty()) return std::nullopt;
  AddChanges(look, recorded, tick);
  std::optional<config::RecordedReturn> back;
  if (recorded.went_back) back = {SavedAt(look.before), look.before.decisions};
  tick.restarted = recorded.restarted;
  tick.t = std::max({tick.t, recorded.t, 0.0});  // whatever the wall clock does
  recorded.t = tick.t;
  recorded.went_back = false;
  recorded.restarted = false;
  RecordPiece piece{.file = FileName(id, look.before.started_wall_seconds),
                    .line = config::RecordingLine(tick, back)};
  if (!HasSeenRequests(look.before.evidence)) piece.header = Header(look, recorded);
  return piece;
}

void NoteUndone(Recorded& recorded) { recorded.went_back = true; }

void NoteLoaded(const State& loaded, Recorded& recorded) {
  recorded = {};
  if (!IsActive(loaded.phase)) return;
  recorded.start = loaded.started_wall_seconds;
  recorded.t = SavedAt(loaded);
  recorded.went_back = true;
  recorded.restarted = true;
}

base::Result<void> CheckRecordFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return base::Fail(base::ErrorCode::kInvalid, folder + ": " + error.message());
  if (!std::filesystem::is_directory(folder, error)) {
    return base::Fail(base::ErrorCode::kInvalid, folder + ": is no folder");
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    return base::Fail(base::ErrorCode::kInvalid, folder + ": " + std::strerror(errno));
  }
  return {};
}

void Recorder::Append(const RecordPiece& piece) {
  const std::filesystem::path path = std::filesystem::path(folder_) / piece.file;
  std::error_code error;
  const bool begins = !std::filesystem::exists(path, error);
  if ((begins && piece.header.empty()) || ended_.contains(piece.file)) return;
  if (begins) std::filesystem::create_directories(folder_, error);
  const auto written = AppendWhole(path, (begins ? piece.header : "") + piece.line);
  if (written) return;
  ended_.insert(piece.file);
  base::Log(base::LogLevel::kError, "recording not written; this rollout's ends here",
            {{"file", path.string()}, {"error", written.error().message}});
}

}  // namespace consul_canary::control
