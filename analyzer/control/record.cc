#include "analyzer/control/record.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "analyzer/config/recording.h"
#include "analyzer/rollout/callers.h"
#include "exporter/base/log.h"

namespace consul_canary::control {
namespace {

std::string FileName(const std::string& id, double started_wall_seconds) {
  return fmt::format("{}-{:%Y%m%dT%H%M%SZ}.jsonl", id,
                     fmt::gmtime(static_cast<std::time_t>(started_wall_seconds)));
}

bool HasSeenRequests(const rollout::Evidence& evidence) {
  return evidence.rollout_primary.completed > 0 || evidence.rollout_canary.completed > 0;
}

config::RecordedTick ToRecorded(const rollout::State& before, const rollout::Observation& seen,
                                double least_t) {
  config::RecordedTick tick;
  tick.t = std::max(least_t, seen.wall_seconds - before.started_wall_seconds);
  tick.elapsed_seconds = seen.elapsed_seconds;
  tick.unruled_seconds = seen.unruled_seconds;
  tick.counts = seen.counts;
  if (seen.splitter) tick.weight_percent = seen.splitter->canary_percent;
  tick.applied = rollout::WeightStragglers(before, seen).empty();
  tick.canary_passing = seen.canary_passing;
  for (const rollout::CallerFacts& caller : seen.callers) {
    tick.ejections = std::max(tick.ejections, caller.canary_ejected);
  }
  tick.doubtful = seen.doubtful;
  tick.unknown = seen.unknown.empty() && !seen.instances_known
                     ? "the service's instances are not known"
                     : seen.unknown;
  // A few late callers of many are no obstacle, so the outcomes count as fresh.
  if (tick.unknown.empty()) tick.unknown = rollout::StaleCallers(seen);
  tick.orders = seen.orders;
  for (rollout::Order& order : tick.orders) {
    order.sequence = 0;
    order.alert_started_wall_seconds -= before.started_wall_seconds;
  }
  return tick;
}

}  // namespace

RecordPiece RecordTick(const std::string& id, const rollout::Spec& spec,
                       const rollout::State& before, const rollout::Observation& seen,
                       double least_t) {
  const config::RecordedTick tick = ToRecorded(before, seen, least_t);
  RecordPiece piece{.file = FileName(id, before.started_wall_seconds),
                    .line = config::RecordingLine(tick),
                    .t = tick.t};
  if (!HasSeenRequests(before.evidence)) {
    config::Recording header{.spec = spec, .primary_history = before.evidence.harm.primary};
    header.primary_latency_history = before.evidence.primary_latency;
    header.dispersion = before.evidence.dispersion;
    header.dispersion.open = {};
    header.attempts_together = seen.attempts_together;
    piece.header = config::RecordingHeader(header);
  }
  return piece;
}

void AppendRecord(const std::string& folder, const RecordPiece& piece) {
  const std::filesystem::path path = std::filesystem::path(folder) / piece.file;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  const bool begins = !std::filesystem::exists(path, error);
  if (begins && piece.header.empty()) return;
  std::ofstream file(path, std::ios::app);
  file << (begins ? piece.header : "") << piece.line << std::flush;
  if (!file) {
    base::Log(base::LogLevel::kError, "recording not written",
              {{"file", path.string()}, {"error", std::strerror(errno)}});
  }
}

}  // namespace consul_canary::control
