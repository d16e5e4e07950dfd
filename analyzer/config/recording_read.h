// Pieces that read a recording's lines. Internal to config/: recording.cc puts them together. They
// throw Wrong, which ParseRecording turns into a Result with its line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

#include "analyzer/config/recording.h"

namespace consul_canary::config {

// Ordered: which of many instances are remembered depends on which came first.
using RecordingJson = nlohmann::ordered_json;

struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Takes the text of one line after the other. Refuses what the JSON library would let pass, or
// would not survive: the same key twice in an object, deep nesting, very long lines, and counts
// whose sum over all lines would come near to what an integer holds.
class LineReader {
 public:
  [[nodiscard]] RecordingJson Read(std::string_view row);

 private:
  std::int64_t total_ = 0;  // of all whole numbers so far
};

inline constexpr const char* kNoJson = "is not JSON";  // begins what Read() says of other text
inline constexpr double kMostSeconds = 1e9;

[[nodiscard]] std::int64_t Whole(const RecordingJson& value, const std::string& field);
[[nodiscard]] double Number(const RecordingJson& value, const std::string& field, double most);
[[nodiscard]] double Seconds(const RecordingJson& value, const std::string& field);
[[nodiscard]] double Percent(const RecordingJson& value, const std::string& field);
[[nodiscard]] bool YesOrNo(const RecordingJson& value, const std::string& field);
[[nodiscard]] std::string Words(const RecordingJson& value, const std::string& field);
[[nodiscard]] std::int64_t Count(const RecordingJson& object, const std::string& where,
                                 const char* key);
[[nodiscard]] std::int64_t CountOr(const RecordingJson& object, const std::string& where,
                                   const char* key, std::int64_t otherwise);
// `shape` says what the object should look like.
void OnlyKnown(const RecordingJson& object, const std::string& where, const std::string& shape,
               const std::set<std::string>& known);

[[nodiscard]] stats::Counts ReadCounts(const RecordingJson& object, const std::string& where);
[[nodiscard]] stats::LatencyCounts ReadLatency(const RecordingJson& object,
                                               const std::string& where, std::int64_t completed);
// Every error of the specification, a line each.
[[nodiscard]] rollout::Spec ReadRecordedSpec(const RecordingJson& json);

[[nodiscard]] double ReadAttempts(const RecordingJson& value, const std::string& field);

struct TickLine {
  RecordedTick tick;
  std::optional<RecordedReturn> back;
};
// `recording` holds the first line and the ticks so far, those that were forgotten included.
[[nodiscard]] TickLine ReadTick(const RecordingJson& json, Recording& recording);

}  // namespace consul_canary::config
