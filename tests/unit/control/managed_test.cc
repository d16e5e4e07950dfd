// Which agent has an instance, what is in the canary subset, and which entries are written.
#include <gtest/gtest.h>

#include "analyzer/control/maintenance.h"
#include "analyzer/control/managed.h"
#include "analyzer/control/stored_json.h"
#include "analyzer/rollout/decide.h"

namespace consul_canary::control {
namespace {

TEST(AgentAt, KeepsSchemeAndPort) {
  const char* const rows[][3] = {
      {"http://127.0.0.1:8500", "10.0.0.7", "http://10.0.0.7:8500"},
      {"https://consul.local:8501", "10.0.0.7", "https://10.0.0.7:8501"},
      {"http://consul.local", "10.0.0.7", "http://10.0.0.7"},
      {"http://[::1]:8500", "fd00::7", "http://[fd00::7]:8500"},
      {"unix:///run/consul.sock", "10.0.0.7", "unix:///run/consul.sock"},
      {"http://127.0.0.1:8500", "", "http://127.0.0.1:8500"},
  };
  for (const auto& [address, node, expected] : rows) EXPECT_EQ(AgentAt(address, node), expected);
}

rollout::Spec ApiSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 10}};
  return spec;
}

collect::ServiceSnapshot Api() {
  collect::ServiceSnapshot service;
  service.service = "api";
  service.splitter = consul::Splitter{.name = "api", .modify_index = 9};
  service.subset_instances = {
      {"primary", {consul::Instance{.id = "api-1-sidecar", .destination_id = "api-1"}}},
      {"canary",
       {consul::Instance{.node_address = "10.0.0.7",
                         .id = "s",
                         .meta = {{"version", "v2"}},
                         .destination_id = "api-2"},
        consul::Instance{.node_address = "10.0.0.8", .id = "native", .meta = {{"version", "v2"}}},
        consul::Instance{.id = "other", .meta = {{"version", "v3"}}}}}};
  return service;
}

TEST(CanaryInstances, AreThoseOfTheVersionBehindTheSidecarsOfItsSubset) {
  const auto found = CanaryInstances(ApiSpec(), "v2", Api());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id, "api-2");
  EXPECT_EQ(found[0].node_address, "10.0.0.7");
  EXPECT_EQ(found[1].id, "native");
}

TEST(PrepareWrites, PreparesNothingWhereTheSpecificationMayNotAct) {
  Managed managed;
  managed.spec = ApiSpec();
  managed.spec->act = false;
  rollout::State state;
  state.phase = rollout::Phase::kProgressing;
  state.stage = rollout::Stage::kStepping;
  state.spec = managed.spec;
  rollout::Observation seen;
  seen.splitter = rollout::SplitterView{.canary_percent = 50, .primary_percent = 50};
  const collect::ServiceSnapshot service = Api();
  EXPECT_TRUE(PrepareWrites(managed, state, seen, service).writes.empty());
  EXPECT_TRUE(PrepareWrites(managed, state, seen, service).refused.empty());
  state.spec.reset();  // as an older release has stored it
  EXPECT_TRUE(PrepareWrites(managed, state, seen, service).writes.empty());
}

TEST(AddDoubts, AnEntryThatIsGoneIsFencedOnceNoWriteIsOnItsWay) {
  Managed managed;
  managed.epoch = 7;
  managed.state.wanted.canary_filter = "is v2";
  const auto now = base::MonotonicTime{} + std::chrono::hours(1);
  rollout::Observation seen;
  seen.entries_known = true;
  AddDoubts(managed, {}, now, seen);
  EXPECT_TRUE(seen.fenced);
  managed.unsure_until = now + base::milliseconds(1);
  AddDoubts(managed, {}, now, seen);
  EXPECT_FALSE(seen.fenced);
  managed.unsure_until = {};
  seen.entries_known = false;
  AddDoubts(managed, {}, now, seen);
  EXPECT_FALSE(seen.fenced);
  seen.entries_known = true;
  AddDoubts(managed, {.outdated = true}, now, seen);
  EXPECT_FALSE(seen.entries_known);
}

TEST(Managed, StoresDecisionsTakenOrdersAndWhatIsWantedBeforeAnythingIsWritten) {
  const rollout::State before;
  EXPECT_FALSE(MustStore(before, {.state = before}));
  rollout::State longer = before;
  longer.stage_seconds = 1;
  EXPECT_FALSE(MustStore(before, {.state = longer}));

  EXPECT_TRUE(MustStore(before, {.state = before, .decisions = {{.action = "hold"}}}));
  rollout::State ordered = before;
  ordered.last_order = 1;
  EXPECT_TRUE(MustStore(before, {.state = ordered}));
  // The canary's filter is set without a decision.
  rollout::State wants = before;
  wants.wanted.canary_filter = "is v2";
  EXPECT_TRUE(MustStore(before, {.state = wants}));
}

// Under way: a decision to begin, made now.
Managed Committing(base::MonotonicTime now) {
  Managed managed;
  managed.leading = managed.loaded = true;
  managed.spec = ApiSpec();
  managed.in_flight = 3;
  managed.pending.emplace().phase = rollout::Phase::kProgressing;
  managed.pending_decisions = {{.sequence = 7}};
  managed.last_checkpoint = now;
  return managed;
}

TEST(TakeCommitted, TakesOverWhatIsStored) {
  const base::MonotonicTime now{base::seconds(100)};
  Managed managed = Committing(now);
  const auto decisions = TakeCommitted(managed, {.number = 3, .id = "api", .committed = 55});
  ASSERT_EQ(decisions.size(), 1U);
  EXPECT_EQ(decisions.front().sequence, 7U);
  EXPECT_EQ(managed.state.phase, rollout::Phase::kProgressing);
  EXPECT_EQ(managed.state_index, 55U);
  EXPECT_EQ(managed.in_flight, 0U);
  EXPECT_FALSE(IsCheckpointDue(managed, now, base::seconds(10)));
  EXPECT_TRUE(IsCheckpointDue(managed, now + base::seconds(10), base::seconds(10)));
}

// It may be stored all the same, which only another commit tells.
TEST(TakeCommitted, AsksAgainAtOnceWhereNoAnswerCame) {
  const base::MonotonicTime now{base::seconds(100)};
  Managed managed = Committing(now);
  const auto decisions =
      TakeCommitted(managed, {.number = 3,
                              .id = "api",
                              .committed = base::Fail(base::ErrorCode::kUnavailable, "no answer")});
  EXPECT_TRUE(decisions.empty());
  EXPECT_EQ(managed.state.phase, rollout::Phase::kIdle);
  EXPECT_EQ(managed.commit_trouble, "no answer");
  EXPECT_TRUE(IsCheckpointDue(managed, now, base::seconds(10)));
}

// Led, in the middle of a rollout at 25%, and then its specification cannot be read any more.
Managed Unreadable() {
  Managed managed;
  managed.leading = managed.loaded = true;
  ReadSpec(managed, {.value = StoredSpec(R"({"service": "api"})")});
  managed.state.phase = rollout::Phase::kProgressing;
  managed.state.stage = rollout::Stage::kStepping;
  managed.state.canary_version = "v2";
  managed.state.spec = ApiSpec();
  managed.state.wanted.canary_percent = managed.state.settled_percent = 25;
  ReadSpec(managed, {.value = R"({"version": 2, "spec": {"service": "api"}})"});
  return managed;
}

TEST(ReadSpec, WhatCannotBeReadLeavesARolloutUnderWayToTheOneBeforeIt) {
  Managed managed = Unreadable();
  EXPECT_FALSE(managed.spec);
  EXPECT_EQ(managed.service, "api");
  ASSERT_NE(SpecToRuleBy(managed.spec, managed.state), nullptr);
  EXPECT_EQ(*SpecToRuleBy(managed.spec, managed.state), ApiSpec());
  EXPECT_TRUE(ViewOf("api", managed).leading);
  EXPECT_EQ(ViewOf("api", managed).spec, ApiSpec());
  managed.state.phase = rollout::Phase::kRolledBack;
  EXPECT_EQ(SpecToRuleBy(managed.spec, managed.state), nullptr);
  EXPECT_FALSE(ViewOf("api", managed).leading);
  managed.state.maintenance_due = true;
  EXPECT_NE(SpecToRuleBy(managed.spec, managed.state), nullptr);
  managed.state.spec.reset();
  EXPECT_EQ(SpecToRuleBy(managed.spec, managed.state), nullptr);
}

TEST(ReadSpec, WhatCannotBeReadMakesEverythingUnknown) {
  Managed managed = Unreadable();
  rollout::Observation seen;
  seen.entries_known = true;
  AddDoubts(managed, {}, {}, seen);
  EXPECT_EQ(seen.unknown,
            "the specification cannot be read, so the one before it rules: stored specification: "
            "version 2 is not known to this release (it reads 1); nothing is overwritten");
  seen.unknown = "Consul does not answer";
  AddDoubts(managed, {}, {}, seen);
  EXPECT_EQ(seen.unknown, "Consul does not answer");
}

TEST(ReadSpec, DeletedWhatCannotBeReadTakesTheTrafficBackBeforeItIsOver) {
  Managed managed = Unreadable();
  managed.spec_deleted = true;
  EXPECT_FALSE(IsOver(managed));
  rollout::Observation seen;
  seen.entries_known = true;
  seen.spec_deleted = true;
  seen.splitter = rollout::SplitterView{.canary_percent = 25, .primary_percent = 75};
  AddDoubts(managed, {}, {}, seen);
  const rollout::Spec* const spec = SpecToRuleBy(managed.spec, managed.state);
  ASSERT_NE(spec, nullptr);
  const rollout::Outcome outcome = rollout::Decide(*spec, managed.state, seen);
  EXPECT_EQ(outcome.state.phase, rollout::Phase::kRollingBack);
  ASSERT_EQ(outcome.decisions.size(), 1U);
  EXPECT_EQ(outcome.decisions[0].cause, "spec-deleted");
  collect::ServiceSnapshot service = Api();
  service.splitter =
      consul::ParseSplitter(R"({"Kind": "service-splitter", "Name": "api", "ModifyIndex": 9,
                                "Splits": [{"Weight": 75, "ServiceSubset": "primary"},
                                           {"Weight": 25, "ServiceSubset": "canary"}]})")
          .value();
  const auto writes = PrepareWrites(managed, outcome.state, seen, service).writes;
  ASSERT_EQ(writes.size(), 1U);
  EXPECT_EQ(writes[0].what, kSplitterWrite);
  managed.state = outcome.state;
  EXPECT_FALSE(IsOver(managed));
  managed.state.phase = rollout::Phase::kRolledBack;
  EXPECT_TRUE(IsOver(managed));
}

// By an analyzer that has never seen another one.
TEST(BeginLead, TakesTheServiceOfASpecificationThatCannotBeReadFromTheState) {
  Managed managed;
  ReadSpec(managed, {.value = "garbage"});
  rollout::State state = Unreadable().state;
  BeginLead(managed, 7, consul::KvPair{.value = StateToJson(state), .modify_index = 5});
  EXPECT_EQ(managed.service, "api");
}

TEST(IsOver, OnceWhatIsUnderWayHasEndedAfterTheSpecificationWasDeleted) {
  Managed managed = Committing({});
  managed.spec_deleted = true;
  EXPECT_FALSE(IsOver(managed));  // a change is under way
  (void)TakeCommitted(managed, {.number = 3, .id = "api", .committed = 55});
  EXPECT_FALSE(IsOver(managed));  // the rollout is
  managed.state.phase = rollout::Phase::kRolledBack;
  EXPECT_TRUE(IsOver(managed));
  managed.spec_deleted = false;
  EXPECT_FALSE(IsOver(managed));
}

TEST(PrepareWrites, NeverPreparesAnEntryThatKubernetesOwns) {
  Managed managed;
  managed.epoch = 7;
  managed.spec = ApiSpec();
  rollout::State state;
  state.phase = rollout::Phase::kRollingBack;
  state.spec = managed.spec;
  rollout::Observation seen;
  seen.splitter = rollout::SplitterView{.canary_percent = 50, .primary_percent = 50};
  collect::ServiceSnapshot service = Api();
  service.splitter = *consul::ParseSplitter(
      R"({"Kind": "service-splitter", "Name": "api", "ModifyIndex": 9,
          "Splits": [{"Weight": 50, "ServiceSubset": "primary"},
                     {"Weight": 50, "ServiceSubset": "canary"}]})");
  EXPECT_EQ(PrepareWrites(managed, state, seen, service).writes.size(), 1U);

  service.splitter = *consul::ParseSplitter(
      R"({"Kind": "service-splitter", "Name": "api", "ModifyIndex": 10,
          "Meta": {"consul.hashicorp.com/source-datacenter": "dc1"},
          "Splits": [{"Weight": 50, "ServiceSubset": "primary"},
                     {"Weight": 50, "ServiceSubset": "canary"}]})");
  const PreparedWrites prepared = PrepareWrites(managed, state, seen, service);
  EXPECT_TRUE(prepared.writes.empty());
  ASSERT_EQ(prepared.refused.size(), 1U);
  const WriteOutcome outcome = OutcomeOf(prepared.refused[0]);
  EXPECT_EQ(outcome.name, "owned");
  EXPECT_NE(outcome.trouble.find("ServiceSplitter custom resource \"api\""), std::string::npos);
}

// No write of ours can reach it: its index moved when it got its owner.
TEST(AddDoubts, AnEntryThatKubernetesOwnsNeedsNoEpoch) {
  Managed managed;
  managed.epoch = 7;
  managed.state.wanted.canary_filter = "is v2";
  const auto now = base::MonotonicTime{} + std::chrono::hours(1);
  rollout::Observation seen;
  seen.entries_known = true;
  seen.splitter.emplace();
  seen.canary_filter = "is v2";
  AddDoubts(managed, {}, now, seen);
  EXPECT_FALSE(seen.fenced);
  seen.splitter_unwritable = seen.resolver_unwritable = "it is owned";
  AddDoubts(managed, {}, now, seen);
  EXPECT_TRUE(seen.fenced);
}

}  // namespace
}  // namespace consul_canary::control
