// Puts the lines together. What they are made of is read by recording_read.cc and
// recording_tick.cc; writing is recording_text.cc's.
#include "analyzer/config/recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "analyzer/config/recording_read.h"

namespace consul_canary::config {
namespace {

using Json = RecordingJson;

constexpr double kMostSum = 1e15;

void ReadSums(const Json& json, const char* key,
              std::array<double, stats::kDispersionWindows>& sums) {
  const std::string where = std::string("history.primary.dispersion.") + key;
  if (!json.contains(key) || !json[key].is_array() || json[key].size() != sums.size()) {
    throw Wrong(fmt::format("{}: must be a list of {} numbers", where, sums.size()));
  }
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = Number(json[key][i], where, kMostSum);
}

void ReadDispersion(const Json& json, stats::DispersionState& dispersion) {
  OnlyKnown(json, "history.primary.dispersion", R"({"excess": […], "expected": […]})",
            {"excess", "expected"});
  ReadSums(json, "excess", dispersion.excess);
  ReadSums(json, "expected", dispersion.expected);
}

void ReadHistory(const Json& json, Recording& recording) {
  constexpr const char* kShape = R"({"primary": {"completed": n, "failures": x}})";
  if (!json.is_object() || !json.contains("primary")) {
    throw Wrong(fmt::format("history: must be {}", kShape));
  }
  OnlyKnown(json, "history", kShape, {"primary"});
  const Json& primary = json["primary"];
  const std::string where = "history.primary";
  OnlyKnown(primary, where, R"({"completed": n, "failures": x})",
            {"completed", "failures", "timed", "slower", "dispersion"});
  if (primary.contains("dispersion")) ReadDispersion(primary["dispersion"], recording.dispersion);
  recording.primary_history = ReadCounts(primary, where);
  if (!primary.contains("timed") && !primary.contains("slower")) return;
  recording.primary_latency_history =
      ReadLatency(primary, where, recording.primary_history.completed);
}

void ReadHeader(const Json& json, Recording& recording) {
  if (!json.is_object() || !json.contains("recording") || !json["recording"].is_number_integer() ||
      json["recording"] != 1) {
    throw Wrong("the first line must be {\"recording\": 1, \"spec\": {…}}");
  }
  if (!json.contains("spec")) throw Wrong("spec: is missing");
  for (const auto& [key, value] : json.items()) {
    if (key == "history") {
      ReadHistory(value, recording);
    } else if (key == "late_after") {
      recording.late_after_seconds = Seconds(value, key);
    } else if (key == "attempts_together") {
      recording.attempts_together = ReadAttempts(value, key);
    } else if (key == "request_timeout") {
      recording.request_timeout_seconds = Seconds(value, key);
    } else if (key == "started_by") {
      recording.started_by = Words(value, key);
    } else if (key != "recording" && key != "spec") {
      throw Wrong(key +
                  ": is not known in the first line; there are attempts_together, history, "
                  "late_after, recording, request_timeout, spec, started_by");
    }
  }
  if (recording.late_after_seconds > 0 && recording.primary_latency_history) {
    throw Wrong("late_after: follows from history.primary; leave it out");
  }
  recording.spec = ReadRecordedSpec(json["spec"]);
}

// --- which lines stood

// Each line follows the one before it, except where an analyzer went back to what it had stored.
class Lines {
 public:
  void Add(const RecordedTick& tick, const std::optional<RecordedReturn>& back) {
    const int last = static_cast<int>(lines_.size()) - 1;
    Line line{.before = back ? Find(*back, last) : last};
    if (line.before >= 0) {
      line.t = lines_[static_cast<std::size_t>(line.before)].t;
      line.sequence = lines_[static_cast<std::size_t>(line.before)].sequence;
    }
    if (tick.elapsed_seconds > 0) line.t = tick.t;
    if (tick.sequence > 0) line.sequence = tick.sequence;
    last_t_ = std::max(last_t_, line.t);
    last_sequence_ = std::max(last_sequence_, line.sequence);
    lines_.push_back(line);
  }

  // Takes out of `ticks`, which are those that were added, what was forgotten.
  void KeepWhatStood(std::vector<RecordedTick>& ticks) const {
    std::vector<RecordedTick> stood;
    for (int at = static_cast<int>(lines_.size()) - 1; at >= 0;
         at = lines_[static_cast<std::size_t>(at)].before) {
      stood.push_back(std::move(ticks[static_cast<std::size_t>(at)]));
    }
    std::ranges::reverse(stood);
    ticks = std::move(stood);
  }

 private:
  struct Line {
    int before = -1;  // the line that it goes on from; -1: the first one
    double t = 0;     // of the last tick up to it
    std::uint64_t sequence = 0;
  };

  // What was forgotten may be come back to after all, when the answer to a commit was lost: so
  // first the very state is looked for among all lines.
  [[nodiscard]] int Find(const RecordedReturn& back, int last) const {
    constexpr const char* kMissing =
        " before this line: another analyzer has ruled meanwhile, or lines were lost";
    if (last_sequence_ > 0 && back.sequence > last_sequence_) {
      throw Wrong(std::string("back_to.seq: is later than any decision") + kMissing);
    }
    if (back.t > last_t_) throw Wrong(std::string("back_to.t: is later than any tick") + kMissing);
    for (int at = last; at >= 0; --at) {
      const Line& line = lines_[static_cast<std::size_t>(at)];
      const bool same = line.sequence == back.sequence || line.sequence == 0;
      if (same && line.t == back.t) return at;
    }
    while (last >= 0 && (lines_[static_cast<std::size_t>(last)].t > back.t ||
                         lines_[static_cast<std::size_t>(last)].sequence > back.sequence)) {
      last = lines_[static_cast<std::size_t>(last)].before;
    }
    return last;
  }

  std::vector<Line> lines_;
  double last_t_ = 0;  // of all lines
  std::uint64_t last_sequence_ = 0;
};

// What stands on a line that is wrong; the last one may have been written in part only.
std::string Problem(int line, bool is_last, const std::string& problems) {
  std::string text;
  for (std::size_t at = 0; at <= problems.size();) {
    const std::size_t end = std::min(problems.find('\n', at), problems.size());
    text += fmt::format("{}line {}: {}", at == 0 ? "" : "\n", line, problems.substr(at, end - at));
    at = end + 1;
  }
  if (is_last && problems.starts_with(kNoJson)) {
    text += "; the line looks cut off: without it the recording may be whole";
  }
  return text;
}

}  // namespace

base::Result<Recording> ParseRecording(std::string_view text) {
  Recording recording;
  LineReader reader;
  Lines lines;
  bool header_read = false;
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    const std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      const Json json = reader.Read(row);
      if (header_read) {
        TickLine read = ReadTick(json, recording);
        lines.Add(read.tick, read.back);
        recording.ticks.push_back(std::move(read.tick));
      } else {
        ReadHeader(json, recording);
        header_read = true;
      }
    } catch (const std::exception& error) {
      const bool is_last = header_read && end == std::string_view::npos;
      return base::Fail(base::ErrorCode::kInvalid, Problem(line, is_last, error.what()));
    }
  }
  if (!header_read) return base::Fail(base::ErrorCode::kInvalid, "line 1: the recording is empty");
  lines.KeepWhatStood(recording.ticks);
  return recording;
}

}  // namespace consul_canary::config
