// The format of recordings: what is read, and how each wrong line is named.
#include "analyzer/config/recording.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace consul_canary::config {
namespace {

const std::string kHeader = R"({"recording": 1, "spec": {"service": "api"}})";
const std::string kTick =
    R"({"t": 1, "primary": {"completed": 95, "failures": 1}, "canary": {"completed": 5, "failures": 0}})";

// kTick with the text after its opening brace replaced by `more`, which comes first.
std::string TickWith(const std::string& more) { return "{" + more + ", " + kTick.substr(1); }

TEST(ParseRecording, ReadsHeaderHistoryAndTicks) {
  const auto recording = ParseRecording(
      R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 9, "failures": 2}}})"
      "\n\n" +
      kTick + "\r\n" +
      TickWith(
          R"("weight": 5.5, "applied": false, "healthy": 0, "age": 2.5, "orders": ["abort"])"));
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->spec.service, "api");
  EXPECT_EQ(recording->primary_history, (stats::Counts{9, 2}));
  ASSERT_EQ(recording->ticks.size(), 2U);
  const RecordedTick plain{.t = 1, .primary = {95, 1}, .canary = {5, 0}};
  EXPECT_EQ(recording->ticks[0], plain);
  const RecordedTick& full = recording->ticks[1];
  EXPECT_EQ(full.weight_percent, 5.5);
  EXPECT_FALSE(full.applied);
  EXPECT_FALSE(full.healthy);
  EXPECT_EQ(full.age_seconds, 2.5);
  ASSERT_EQ(full.orders.size(), 1U);
  EXPECT_EQ(full.orders[0].kind, rollout::OrderKind::kAbort);
  EXPECT_EQ(full.orders[0].by, "recording");
}

TEST(ParseRecording, SaysWhatItReadsButDoesNotJudge) {
  const auto recording = ParseRecording(
      kHeader + "\n" + TickWith(R"("instances": {}, "late": 3, "ejections": 1)") + "\n" +
      R"({"t": 2, "primary": {"completed": 1, "failures": 0, "slower": {"250ms": 1}}, "canary": {"completed": 0, "failures": 0}})");
  ASSERT_TRUE(recording) << recording.error().message;
  EXPECT_EQ(recording->not_judged,
            (std::vector<std::string>{"ejections", "instances", "late", "slower"}));
}

TEST(ParseRecording, ReadsAnOrdersParts) {
  const auto recording = ParseRecording(
      kHeader + "\n" +
      TickWith(
          R"("orders": [{"order": "promote", "by": "ann", "full": true}, {"order": "rollback-alert", "alert": "x", "alert_key": "k", "alert_started_wall_seconds": 7}])"));
  ASSERT_TRUE(recording) << recording.error().message;
  const auto& orders = recording->ticks[0].orders;
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_TRUE(orders[0].full);
  EXPECT_EQ(orders[0].by, "ann");
  EXPECT_EQ(orders[1].alert_key, "k");
  EXPECT_EQ(orders[1].alert_started_wall_seconds, 7);
}

TEST(ParseRecording, NamesTheFirstLinesFaults) {
  struct Case {
    const char* text;
    const char* problem;
  };
  const std::string first = "line 1: the first line must be {\"recording\": 1, \"spec\": {…}}";
  const std::vector<Case> cases{
      {"", "line 1: the recording is empty"},
      {"\n \n", "line 1: the recording is empty"},
      {"[]", first.c_str()},
      {"{}", first.c_str()},
      {R"({"recording": 2, "spec": {"service": "api"}})", first.c_str()},
      {R"({"recording": "1", "spec": {"service": "api"}})", first.c_str()},
      {R"({"recording": 1})", "line 1: spec: is missing"},
      {R"({"recording": 1, "spec": {"service": "api"}, "more": 1})",
       "line 1: more: is not known in the first line"},
      {R"({"recording": 1, "spec": {"service": "api"}, "history": 5})",
       "line 1: history: must be {\"primary\": {\"completed\": n, \"failures\": x}}"},
      {R"({"recording": 1, "spec": {"service": "api"}, "history": {"primary": {"completed": 1}}})",
       "line 1: history.primary.failures: is missing"},
  };
  for (const Case& test : cases) {
    const auto recording = ParseRecording(test.text);
    ASSERT_FALSE(recording) << test.text;
    EXPECT_EQ(recording.error().message, test.problem) << test.text;
  }
}

TEST(ParseRecording, NamesTheSpecificationsField) {
  const auto recording =
      ParseRecording(R"({"recording": 1, "spec": {"service": "api", "stratgy": {}}})");
  ASSERT_FALSE(recording);
  EXPECT_EQ(recording.error().message.substr(0, 22), "line 1: spec: stratgy:")
      << recording.error().message;
}

TEST(ParseRecording, NamesTheLineAndTheFieldOfAWrongTick) {
  struct Case {
    std::string line;
    const char* problem;
  };
  const std::string counts = R"("primary": {"completed": 1, "failures": 0}, )";
  const std::vector<Case> cases{
      {"[]", "a tick must be a JSON object"},
      {"{}", "t: is missing"},
      {R"({"t": 1})", "primary: is missing"},
      {"{\"t\": 1, " + counts + "\"x\": 1}", "canary: is missing"},
      {TickWith(R"("speed": 1)"), "speed: is not known in a tick"},
      {TickWith(R"("weight": "5")"), "weight: must be a number from 0 on"},
      {TickWith(R"("weight": -1)"), "weight: must be a number from 0 on"},
      {TickWith(R"("age": null)"), "age: must be a number from 0 on"},
      {TickWith(R"("healthy": "yes")"), "healthy: must be a number from 0 on"},
      {TickWith(R"("orders": "abort")"), "orders: must be a list such as [\"abort\"]"},
      {TickWith(R"("orders": ["explode"])"), "orders: \"explode\" is no order"},
      {TickWith(R"("orders": [{"by": "ann"}])"), "orders: {\"by\":\"ann\"} is no order"},
      {"{\"t\": -1, " + counts + R"("canary": {"completed": 1, "failures": 0}})",
       "t: must be a number from 0 on"},
      {"{\"t\": 1, " + counts + R"("canary": 5})",
       "canary: must be {\"completed\": n, \"failures\": x}"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1}})", "canary.failures: is missing"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1.5, "failures": 0}})",
       "canary.completed: must be a whole number from 0 to 2^53"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": -1, "failures": 0}})",
       "canary.completed: must be a whole number from 0 to 2^53"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1, "failures": 2}})",
       "canary.failures: must not exceed completed"},
      {"{\"t\": 1, " + counts + R"("canary": {"completed": 1, "failures": 0, "errors": 1}})",
       "canary.errors: is not known; there are completed, failures, slower"},
      {"{\"t\": 0.5, " + counts + R"("canary": {"completed": 1, "failures": 0}})",
       "t: must not be less than in the line before"},
  };
  for (const Case& test : cases) {
    const auto recording = ParseRecording(kHeader + "\n" + kTick + "\n" + test.line + "\n");
    ASSERT_FALSE(recording) << test.line;
    EXPECT_EQ(recording.error().message, std::string("line 3: ") + test.problem) << test.line;
  }
}

TEST(ParseRecording, NamesTheLineThatIsNoJson) {
  const auto recording = ParseRecording(kHeader + "\n" + kTick + "\nnot json\n");
  ASSERT_FALSE(recording);
  EXPECT_EQ(recording.error().message.substr(0, 8), "line 3: ");
}

}  // namespace
}  // namespace consul_canary::config
