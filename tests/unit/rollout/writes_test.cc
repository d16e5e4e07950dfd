// Which entries are written, given what is wanted and what stands there.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rollout/world.h"

namespace consul_canary::rollout {
namespace {

struct Case {
  const char* what;
  void (*change)(State& state, Observation& seen);
  std::vector<Write> due;
};

State Wanting() {
  State state;
  state.phase = Phase::kProgressing;
  state.stage = Stage::kStepping;
  state.wanted.canary_percent = 10;
  state.wanted.canary_filter = "is v2";
  return state;
}

Observation AsWanted() {
  Observation seen;
  seen.splitter = SplitterView{.canary_percent = 10, .primary_percent = 90, .epoch = 7};
  seen.resolver_epoch = 7;
  seen.canary_filter = "is v2";
  seen.primary_filter = "is v1";
  seen.instances_known = true;
  seen.canary_passing = 1;
  return seen;
}

const std::vector<Case> kCases{
    {"all is as wanted", [](State&, Observation&) {}, {}},
    {"another weight",
     [](State&, Observation& o) { o.splitter->canary_percent = 5; },
     {Write::kSplitter}},
    {"less than Consul can keep",
     [](State&, Observation& o) { o.splitter->canary_percent = 10.004; },
     {}},
    {"the primary's share is wrong",
     [](State&, Observation& o) { o.splitter->primary_percent = 80; },
     {Write::kSplitter}},
    {"other splits count",
     [](State&, Observation& o) {
       o.splitter->primary_percent = 60;
       o.splitter->other_percent = 30;
     },
     {}},
    {"a deposed leader's epoch",
     [](State&, Observation& o) { o.splitter->epoch = 6; },
     {Write::kSplitter}},
    {"no epoch yet", [](State&, Observation& o) { o.splitter->epoch = 0; }, {Write::kSplitter}},
    {"a deposed leader's epoch in the resolver",
     [](State&, Observation& o) { o.resolver_epoch = 6; },
     {Write::kCanaryFilter}},
    {"the primary's filter brings the epoch along",
     [](State& s, Observation& o) { s.wanted.primary_filter = "is v2", o.resolver_epoch = 6; },
     {Write::kPrimaryFilter}},
    {"the canary's filter",
     [](State&, Observation& o) { o.canary_filter = "is none"; },
     {Write::kCanaryFilter}},
    {"a subset that does not exist cannot be written",
     [](State&, Observation& o) { o.canary_filter.reset(); },
     {}},
    {"the primary's filter",
     [](State& s, Observation&) { s.wanted.primary_filter = "is v2"; },
     {Write::kPrimaryFilter}},
    {"all three, in order",
     [](State& s, Observation& o) {
       s.wanted.primary_filter = "is v2";
       o.canary_filter = "is none";
       o.splitter->epoch = 0;
     },
     {Write::kSplitter, Write::kCanaryFilter, Write::kPrimaryFilter}},
    {"no splitter", [](State&, Observation& o) { o.splitter.reset(); }, {}},
    {"idle", [](State& s, Observation& o) { s.phase = Phase::kIdle, o.splitter->epoch = 0; }, {}},
    {"succeeded",
     [](State& s, Observation& o) { s.phase = Phase::kSucceeded, o.splitter->canary_percent = 5; },
     {}},
    {"rolled back",
     [](State& s, Observation& o) { s.phase = Phase::kRolledBack, o.splitter->canary_percent = 5; },
     {}},
    {"foreign weights",
     [](State& s, Observation& o) { s.foreign_edit = true, o.splitter->canary_percent = 33; },
     {}},
    {"foreign weights while rolling back",
     [](State& s, Observation& o) {
       s.phase = Phase::kRollingBack;
       s.foreign_edit = true;
       s.wanted.canary_percent = 0;
       o.splitter->canary_percent = 33;
     },
     {Write::kSplitter}},
    {"nothing is widened while something is unknown",
     [](State&, Observation& o) { o.splitter->canary_percent = 5, o.unknown = "away"; },
     {}},
    {"nothing is widened while instances are not known",
     [](State&, Observation& o) { o.splitter->canary_percent = 5, o.instances_known = false; },
     {}},
    {"nothing is widened towards nobody",
     [](State&, Observation& o) { o.splitter->canary_percent = 5, o.canary_passing = 0; },
     {}},
    {"less may be given at any time",
     [](State& s, Observation& o) { s.wanted.canary_percent = 0, o.unknown = "away"; },
     {Write::kSplitter}},
};

TEST(DueWrites, AreWhatDiffersAndMayBeWritten) {
  for (const Case& test : kCases) {
    State state = Wanting();
    Observation seen = AsWanted();
    test.change(state, seen);
    EXPECT_EQ(DueWrites(state, seen, 7), test.due) << test.what;
  }
}

}  // namespace
}  // namespace consul_canary::rollout
