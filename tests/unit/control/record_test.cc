// A rollout's ticks as `--record` writes them.
#include "analyzer/control/record.h"

#include <gtest/gtest.h>

#include "analyzer/config/recording.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::control {
namespace {

rollout::Spec ApiSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 10}};
  return spec;
}

rollout::State Started() {
  rollout::State state;
  state.phase = rollout::Phase::kProgressing;
  state.started_wall_seconds = 1700000000;
  state.evidence.harm.primary = {30000, 30};
  state.evidence.primary_latency = {1000, {{0.25, 10}}};
  return state;
}

rollout::Observation Second(double wall_seconds) {
  rollout::Observation seen;
  seen.wall_seconds = wall_seconds;
  seen.elapsed_seconds = 1;
  seen.splitter = rollout::SplitterView{.canary_percent = 10, .primary_percent = 90};
  seen.instances_known = true;
  seen.canary_passing = 2;
  seen.callers = {{.id = "web", .fresh = true}};
  seen.counts.primary = {.low = {90, 1}, .high = {90, 1}};
  seen.counts.canary = {.low = {10, 0}, .high = {10, 0}};
  return seen;
}

TEST(Record, TheFirstTickBringsTheHeaderAndReplayReadsBoth) {
  rollout::State state = Started();
  RecordPiece piece = RecordTick("api", ApiSpec(), state, Second(1700000001.5), 0);
  EXPECT_EQ(piece.file, "api-20231114T221320Z.jsonl");
  std::string text = piece.header + piece.line;
  state.evidence.rollout_primary = {90, 1};
  piece = RecordTick("api", ApiSpec(), state, Second(1700000002.5), 0);
  EXPECT_EQ(piece.header, "");
  text += piece.line;
  const auto recording = config::ParseRecording(text);
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->spec, ApiSpec());
  EXPECT_EQ(recording->primary_history, (stats::Counts{30000, 30}));
  ASSERT_EQ(recording->ticks.size(), 2U);
  EXPECT_EQ(recording->ticks[0].t, 1.5);
  EXPECT_EQ(recording->ticks[0].counts.primary.low, (stats::Counts{90, 1}));
  EXPECT_EQ(recording->ticks[0].weight_percent, 10);
  EXPECT_EQ(recording->ticks[0].canary_passing, 2);
}

TEST(Record, LateCallersAreWhatIsUnknown) {
  rollout::Observation seen = Second(1700000001);
  seen.callers[0] = {.id = "web", .fresh = false, .trouble = "never read"};
  const RecordPiece piece = RecordTick("api", ApiSpec(), Started(), seen, 0);
  const auto recording = config::ParseRecording(piece.header + piece.line);
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->ticks[0].unknown, "no fresh data from web (never read)");
}

TEST(Record, AFileIsNotBegunInTheMiddleOfARollout) {
  const testing::TempDir folder;
  AppendRecord(folder.path().string(), {"a.jsonl", "", "{\"t\": 5}\n"});
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "a.jsonl"));
  AppendRecord(folder.path().string(), {"a.jsonl", "{\"recording\": 1}\n", "{\"t\": 4}\n"});
  AppendRecord(folder.path().string(), {"a.jsonl", "", "{\"t\": 5}\n"});
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "a.jsonl"), 35U);
}

}  // namespace
}  // namespace consul_canary::control
