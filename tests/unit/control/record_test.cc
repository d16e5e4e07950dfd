// What `--record` writes of each look at a rollout, and where.
#include "analyzer/control/record.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "analyzer/config/recording.h"
#include "tests/support/temp_dir.h"

namespace consul_canary::control {
namespace {

constexpr double kStart = 1700000000.25;

rollout::Spec ApiSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 10}};
  return spec;
}

rollout::State Started() {
  rollout::State state;
  state.phase = rollout::Phase::kProgressing;
  state.stage = rollout::Stage::kStepping;
  state.confirmed = true;
  state.wanted.canary_percent = 10;
  state.started_wall_seconds = kStart;
  state.decisions = 2;
  state.evidence.harm.primary = {30000, 30};
  state.evidence.primary_latency = {1000, {{0.25, 10}}};
  return state;
}

// Between two ticks.
rollout::Observation LookAt(double t) {
  rollout::Observation seen;
  seen.wall_seconds = kStart + t;
  seen.splitter = rollout::SplitterView{.canary_percent = 10, .primary_percent = 90};
  seen.instances_known = true;
  seen.canary_passing = 2;
  seen.primary_passing = 2;
  seen.callers = {{.id = "web", .fresh = true}};
  return seen;
}

rollout::Observation TickAt(double t) {
  rollout::Observation seen = LookAt(t);
  seen.elapsed_seconds = 1;
  seen.counts_known = true;
  seen.counts.primary = {.low = {90, 1}, .high = {90, 1}};
  seen.counts.canary = {.low = {10, 0}, .high = {10, 0}};
  return seen;
}

// A rollout that is looked at again and again, and its recording.
struct Recording {
  rollout::Spec spec = ApiSpec();
  rollout::State state = Started();
  Recorded recorded;
  std::string text;

  // Nothing is decided.
  bool Look(const rollout::Observation& seen) { return Look(seen, {.state = state}); }
  bool Look(const rollout::Observation& seen, rollout::Outcome outcome) {
    if (seen.elapsed_seconds > 0) outcome.state.saved_wall_seconds = seen.wall_seconds;
    const auto piece = RecordLook("api", {spec, state, seen, outcome}, recorded);
    state = outcome.state;
    if (!piece) return false;
    text += (text.empty() ? piece->header : "") + piece->line;
    return true;
  }
  std::vector<config::RecordedTick> Ticks() const {
    const auto parsed = config::ParseRecording(text);
    EXPECT_TRUE(parsed) << parsed.error().message;
    return parsed ? parsed->ticks : std::vector<config::RecordedTick>{};
  }
  // The only line of the look.
  config::RecordedTick Only(const rollout::Observation& seen) {
    EXPECT_TRUE(Look(seen));
    const auto ticks = Ticks();
    EXPECT_EQ(ticks.size(), 1U);
    return ticks.empty() ? config::RecordedTick{} : ticks[0];
  }
};

TEST(Record, TheFirstTickBringsTheHeaderAndReplayReadsBoth) {
  Recording live;
  live.Look(TickAt(1.5));
  live.state.evidence.rollout_primary = {90, 1};
  const auto piece =
      RecordLook("api", {live.spec, live.state, TickAt(2.5), {.state = live.state}}, live.recorded);
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->file, "api-20231114T221320.250Z.jsonl");
  EXPECT_EQ(piece->header, "");
  const auto recording = config::ParseRecording(live.text + piece->line);
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->spec, ApiSpec());
  EXPECT_EQ(recording->primary_history, (stats::Counts{30000, 30}));
  ASSERT_EQ(recording->ticks.size(), 2U);
  config::RecordedTick tick{.t = 1.5, .elapsed_seconds = 1};
  tick.counts = TickAt(1.5).counts;
  tick.weight_percent = 10;
  tick.canary_passing = 2;
  EXPECT_EQ(recording->ticks[0], tick);
}

TEST(Record, LooksBetweenTicksAreRecordedWhereSomethingComesOfThem) {
  Recording live;
  EXPECT_FALSE(live.Look(LookAt(.5)));
  EXPECT_TRUE(live.Look(TickAt(1)));
  rollout::Observation ordered = LookAt(1.5);
  ordered.orders = {{.sequence = 4, .kind = rollout::OrderKind::kPause, .by = "ann"}};
  rollout::Outcome paused{.state = live.state};
  paused.state.last_order = 4;
  paused.state.decisions = 3;
  paused.decisions = {{.sequence = 3, .action = "pause"}};
  EXPECT_TRUE(live.Look(ordered, paused));
  // Consul still shows it: it was taken.
  EXPECT_FALSE(live.Look(ordered));
  rollout::Outcome ready{.state = live.state};
  ready.state.decisions = 4;
  ready.decisions = {{.sequence = 4, .action = "advance"}};
  EXPECT_TRUE(live.Look(LookAt(1.75), ready));
  const auto ticks = live.Ticks();
  ASSERT_EQ(ticks.size(), 3U);
  EXPECT_TRUE(ticks[1].look);
  EXPECT_EQ(ticks[1].t, 1.5);
  EXPECT_EQ(ticks[1].elapsed_seconds, 0);
  EXPECT_EQ(ticks[1].sequence, 3U);
  ASSERT_EQ(ticks[1].orders.size(), 1U);
  EXPECT_EQ(ticks[1].orders[0].by, "ann");
  EXPECT_TRUE(ticks[2].look);
  EXPECT_TRUE(ticks[2].orders.empty());
}

TEST(Record, ThatAnOrderCameTooLateIsKeptAndNotWhatItsSenderSaw) {
  Recording live;
  rollout::Observation ordered = TickAt(1);
  ordered.orders = {
      {.sequence = 4, .kind = rollout::OrderKind::kPromote, .by = "ann", .seen_decisions = 12},
      {.sequence = 5, .kind = rollout::OrderKind::kPromote, .by = "ann", .seen_decisions = 12}};
  rollout::Outcome promoted{.state = live.state};
  promoted.state.last_order = 5;
  promoted.decisions = {{.sequence = 13, .action = "advance", .cause = "order", .order = 4},
                        {.sequence = 14, .action = "refuse", .cause = "outdated", .order = 5}};
  EXPECT_TRUE(live.Look(ordered, promoted));
  const auto ticks = live.Ticks();
  ASSERT_EQ(ticks[0].orders.size(), 2U);
  EXPECT_EQ(ticks[0].orders[0].seen_decisions, std::nullopt);
  EXPECT_EQ(ticks[0].orders[1].seen_decisions, 0U);
}

TEST(Record, BetweenRolloutsNothingIsRecordedButWhoOrderedTheStart) {
  Recording live;
  live.state.phase = rollout::Phase::kRolledBack;
  rollout::Observation seen = LookAt(0);
  seen.orders = {{.sequence = 7, .kind = rollout::OrderKind::kRetry, .by = "ann"}};
  rollout::Outcome started{.state = Started()};
  started.state.last_order = 7;
  EXPECT_FALSE(live.Look(seen, started));
  EXPECT_TRUE(live.Look(TickAt(1)));
  const auto recording = config::ParseRecording(live.text);
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->started_by, "ann");
}

TEST(Record, WhatIsNotAsTheRolloutWantsItIsSaid) {
  const config::RecordedTick wanted = Recording().Only(TickAt(1));
  struct Case {
    const char* name;
    void (*change)(rollout::State&, rollout::Observation&);
    void (*expect)(config::RecordedTick&);
  };
  using S = rollout::State&;
  using O = rollout::Observation&;
  using T = config::RecordedTick&;
  const std::vector<Case> cases{
      {"late callers",
       [](S, O seen) { seen.callers[0] = {.id = "web", .fresh = false, .trouble = "never read"}; },
       [](T tick) { tick.unknown = "no fresh data from web (never read)"; }},
      {"no callers", [](S, O seen) { seen.callers.clear(); },
       [](T tick) { tick.unknown = "no caller's sidecar is known and passing"; }},
      {"another split",
       [](S, O seen) {
         seen.splitter = {10, 60, 30};
       },
       [](T tick) { tick.other_percent = 30; }},
      {"a foreign edit",
       [](S, O seen) {
         seen.splitter = {33, 67};
       },
       [](T tick) {
         tick.weight_percent = 33;
         tick.splitter = {33, 67};
       }},
      {"a step's weight not written yet",
       [](S state, O seen) {
         state.confirmed = false;
         seen.splitter = {0, 100};
       },
       [](T tick) {
         tick.weight_percent.reset();
         tick.splitter = {0, 100};
         tick.confirmed = false;
       }},
      {"another filter",
       [](S state, O seen) {
         state.wanted.canary_filter = "v2";
         seen.canary_filter = "v3";
       },
       [](T tick) { tick.canary_filter = "v3"; }},
      {"unknown instances", [](S, O seen) { seen.instances_known = false; },
       [](T tick) { tick.instances_known = false; }},
      {"a primary that is gone", [](S, O seen) { seen.primary_passing = 0; },
       [](T tick) { tick.primary_passing = 0; }},
      {"a deposed leader's writes under way",
       [](S state, O seen) {
         state.phase = rollout::Phase::kRollingBack;
         seen.fenced = false;
       },
       [](T tick) { tick.fenced = false; }},
      {"all traffic at the canary",
       [](S state, O seen) {
         state.phase = rollout::Phase::kPromoting;
         state.stage = rollout::Stage::kCanaryFull;
         state.wanted.canary_percent = 100;
         seen.splitter = {100, 0};
       },
       [](T tick) {
         tick.weight_percent = 100;
         tick.confirmed = true;
       }},
  };
  for (const Case& test : cases) {
    Recording live;
    rollout::Observation seen = TickAt(1);
    test.change(live.state, seen);
    config::RecordedTick expected = wanted;
    test.expect(expected);
    EXPECT_EQ(live.Only(seen), expected) << test.name;
  }
}

TEST(Record, AChangedSpecificationIsRecordedOnce) {
  Recording live;
  live.Look(TickAt(1));
  live.spec.steps[0].weight_percent = 20;
  live.Look(TickAt(2));
  live.Look(TickAt(3));
  const auto ticks = live.Ticks();
  ASSERT_EQ(ticks.size(), 3U);
  EXPECT_EQ(ticks[1].spec, live.spec);
  EXPECT_EQ(ticks[0].spec, std::nullopt);
  EXPECT_EQ(ticks[2].spec, std::nullopt);
}

TEST(Record, ALoadedRolloutGoesOnFromWhatWasStored) {
  Recording live;
  live.Look(TickAt(1));
  live.Look(TickAt(2));
  const rollout::State stored = live.state;
  live.Look(TickAt(3));
  live.state = stored;
  NoteLoaded(live.state, live.recorded);
  live.Look(TickAt(9));
  live.Look(TickAt(10));
  const auto ticks = live.Ticks();
  ASSERT_EQ(ticks.size(), 4U);
  EXPECT_EQ(ticks[1].t, 2);
  EXPECT_EQ(ticks[2].t, 9);
  EXPECT_TRUE(ticks[2].restarted);
  EXPECT_EQ(ticks[2].spec, live.spec);  // it may have been changed meanwhile
  EXPECT_FALSE(ticks[3].restarted);
}

TEST(Record, WhatWasNotCommittedIsTakenBack) {
  Recording live;
  live.Look(TickAt(1));
  const rollout::State committed = live.state;
  rollout::Outcome advanced{.state = live.state};
  advanced.state.decisions = 3;
  advanced.decisions = {{.sequence = 3, .action = "advance"}};
  live.Look(TickAt(2), advanced);
  live.state = committed;
  NoteUndone(live.recorded);
  live.Look(TickAt(3));
  const auto ticks = live.Ticks();
  ASSERT_EQ(ticks.size(), 2U);
  EXPECT_EQ(ticks[1].t, 3);
  EXPECT_FALSE(ticks[1].restarted);
}

TEST(Record, TimeDoesNotGoBackWithTheWallClock) {
  Recording live;
  live.Look(TickAt(5));
  live.Look(TickAt(3));
  const auto ticks = live.Ticks();
  ASSERT_EQ(ticks.size(), 2U);
  EXPECT_EQ(ticks[1].t, 5);
}

std::string ReadText(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Recorder, DoesNotBeginAFileInTheMiddleOfARollout) {
  const testing::TempDir folder;
  Recorder recorder(folder.path().string());
  recorder.Append({"a.jsonl", "", "{\"t\": 5}\n"});
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "a.jsonl"));
  recorder.Append({"a.jsonl", "{\"recording\": 1}\n", "{\"t\": 4}\n"});
  recorder.Append({"a.jsonl", "", "{\"t\": 5}\n"});
  EXPECT_EQ(ReadText(folder.path() / "a.jsonl"), "{\"recording\": 1}\n{\"t\": 4}\n{\"t\": 5}\n");
}

TEST(Recorder, EndsAFileThatHasLostALine) {
  const testing::TempDir folder;
  const auto path = folder.path() / "a.jsonl";
  Recorder recorder(folder.path().string());
  recorder.Append({"a.jsonl", "1\n", "2\n"});
  // As on a full disk, nothing can be written; afterwards there is room again.
  std::filesystem::rename(path, folder.path() / "kept");
  std::filesystem::create_directory(path);
  recorder.Append({"a.jsonl", "", "3\n"});
  std::filesystem::remove(path);
  std::filesystem::rename(folder.path() / "kept", path);
  recorder.Append({"a.jsonl", "", "4\n"});
  EXPECT_EQ(ReadText(path), "1\n2\n");
  recorder.Append({"b.jsonl", "1\n", "2\n"});
  EXPECT_EQ(ReadText(folder.path() / "b.jsonl"), "1\n2\n");
}

TEST(CheckRecordFolder, MakesItOrSaysWhyItCannotBeUsed) {
  const testing::TempDir folder;
  EXPECT_TRUE(CheckRecordFolder((folder.path() / "new" / "folder").string()));
  EXPECT_TRUE(std::filesystem::is_directory(folder.path() / "new" / "folder"));
  const std::string file = folder.Write("file", "text").string();
  for (const std::string& wrong : {file, file + "/below"}) {
    const auto checked = CheckRecordFolder(wrong);
    ASSERT_FALSE(checked) << wrong;
    EXPECT_EQ(checked.error().message.substr(0, wrong.size() + 2), wrong + ": ");
  }
}

}  // namespace
}  // namespace consul_canary::control
