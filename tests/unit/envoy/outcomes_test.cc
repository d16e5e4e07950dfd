#include "exporter/envoy/outcomes.h"

#include <gtest/gtest.h>

namespace consul_canary::envoy {
namespace {

const std::vector<consul::RetryRule> kAllRetried = {{{500, 502, 503, 504}, true}};

OutcomeCounters Counters(std::uint64_t completed, std::uint64_t retries,
                         std::uint64_t retry_success, std::map<int, std::uint64_t> responses = {},
                         std::map<int, std::uint64_t> retried = {}) {
  return {completed, retries, retry_success, std::move(responses), std::move(retried)};
}

OutcomeCounters Completed(std::uint64_t completed, std::uint64_t errors = 0) {
  OutcomeCounters counters;
  counters.completed = completed;
  if (errors > 0) counters.responses[500] = errors;
  return counters;
}

Outcomes Exactly(std::uint64_t completed, std::uint64_t failures) {
  return {completed, failures, failures};
}

// Checked request by request on a real mesh: 417 requests took 641 attempts, 233 of them failed;
// 151 requests failed at first, of which 142 were saved by a retry.
TEST(Apply, AgreesWithWhatApplicationsSawInAllThreeViews) {
  const OutcomeCounters counted = Counters(417, 224, 142, {{500, 9}}, {{500, 224}});
  EXPECT_EQ(Apply(View::kFirstTry, counted, kAllRetried), Exactly(417, 151));
  EXPECT_EQ(Apply(View::kAttempts, counted, kAllRetried), Exactly(641, 233));
  EXPECT_EQ(Apply(View::kRequests, counted, kAllRetried), Exactly(417, 9));
}

// The retry trap: the canary failed a fifth of its attempts, callers saw one failure in 2000.
TEST(Apply, SeesThroughTheRetryTrap) {
  const OutcomeCounters canary = Counters(192, 51, 39, {{500, 1}}, {{500, 51}});
  EXPECT_EQ(Apply(View::kAttempts, canary, kAllRetried), Exactly(243, 52));
  EXPECT_EQ(Apply(View::kRequests, canary, kAllRetried), Exactly(192, 1));
  EXPECT_EQ(Apply(View::kFirstTry, canary, kAllRetried), Exactly(192, 40));
}

// RetryOnStatusCodes [503] and answers 503 then 500: each of 60 requests counts as a successful
// retry and as a final 500.
TEST(Apply, DoubtsFirstTriesWhoseFinalErrorIsNotRetried) {
  const OutcomeCounters counted = Counters(100, 60, 60, {{500, 60}}, {{503, 60}});
  EXPECT_EQ(Apply(View::kFirstTry, counted, {{{503}, false}}), (Outcomes{100, 60, 100}));
  const OutcomeCounters more = Counters(200, 60, 60, {{500, 60}}, {{503, 60}});
  EXPECT_EQ(Apply(View::kFirstTry, more, {{{503}, false}}), (Outcomes{200, 60, 120}));
}

// A 503 of the application is retried, Envoy's own for a connection that fails is not: the second
// may follow the first.
TEST(Apply, Doubts503WhereConnectionsThatFailAreNotRetried) {
  const OutcomeCounters counted = Counters(200, 60, 60, {{503, 60}}, {{503, 60}});
  EXPECT_EQ(Apply(View::kFirstTry, counted, {{{503}, false}}), (Outcomes{200, 60, 120}));
  EXPECT_EQ(Apply(View::kFirstTry, counted, {{{503}, true}}), Exactly(200, 120));
}

TEST(Apply, DoubtsRetriedAnswersBelow500) {
  const OutcomeCounters counted = Counters(100, 30, 30, {}, {{429, 30}});
  EXPECT_EQ(Apply(View::kFirstTry, counted, {{{429, 500}, false}}), (Outcomes{100, 0, 30}));
}

TEST(Apply, DoubtsNoMoreThanWereSavedByARetry) {
  const OutcomeCounters counted = Counters(100, 10, 2, {{500, 50}}, {{503, 10}});
  EXPECT_EQ(Apply(View::kFirstTry, counted, {{{503}, false}}), (Outcomes{100, 50, 52}));
}

TEST(Apply, DoubtsWhatAnyRetryingRouteDoesNotRetry) {
  const OutcomeCounters counted = Counters(100, 10, 10, {{500, 5}}, {{503, 10}});
  const std::vector<consul::RetryRule> two_routes = {{{500, 503}, false}, {{503}, false}};
  EXPECT_EQ(Apply(View::kFirstTry, counted, two_routes), (Outcomes{100, 10, 15}));
}

TEST(Apply, DoubtsEverythingWhereRetriesComeFromNoKnownRoute) {
  const OutcomeCounters counted = Counters(100, 10, 10, {{500, 5}}, {{500, 10}});
  EXPECT_EQ(Apply(View::kFirstTry, counted, {}), (Outcomes{100, 10, 15}));
}

TEST(Apply, IsExactWithoutRetries) {
  for (const View view : {View::kFirstTry, View::kAttempts, View::kRequests}) {
    EXPECT_EQ(Apply(view, Completed(50, 7), {}), Exactly(50, 7));
  }
}

// --- gRPC

const std::vector<consul::RetryRule> kUnavailableRetried = {{.grpc_statuses = {14}}};

OutcomeCounters Calls(std::uint64_t completed, std::map<int, std::uint64_t> statuses,
                      std::map<int, std::uint64_t> responses = {}, std::uint64_t saved = 0) {
  OutcomeCounters counters = Counters(completed, saved, saved, std::move(responses));
  counters.answers = completed;
  if (saved > 0) counters.retried_responses[200] = saved;
  counters.grpc_statuses = std::move(statuses);
  return counters;
}

std::uint64_t Without(const OutcomeCounters& since_start) {
  return WithoutStatus(since_start.answers, since_start.grpc_statuses);
}

// Of the first tick of a sidecar.
Outcomes ByStatus(View view, OutcomeCounters counted,
                  const std::vector<consul::RetryRule>& retries = {}) {
  CountByStatus(counted, Without(counted));
  return Apply(view, counted, retries);
}

// Seen on a real mesh: 49 calls that were UNAVAILABLE at first were saved; 50 ended UNKNOWN, which
// no route retries and may follow a retry; 49 asked for what is not there.
TEST(CountByStatus, JudgesCallsInAllThreeViews) {
  const OutcomeCounters counted = Calls(198, {{0, 99}, {2, 50}, {5, 49}}, {}, 49);
  EXPECT_EQ(ByStatus(View::kRequests, counted, kUnavailableRetried), Exactly(198, 50));
  EXPECT_EQ(ByStatus(View::kAttempts, counted, kUnavailableRetried), Exactly(247, 99));
  EXPECT_EQ(ByStatus(View::kFirstTry, counted, kUnavailableRetried), (Outcomes{198, 50, 99}));
  EXPECT_EQ(ByStatus(View::kFirstTry, counted, {{.grpc_statuses = {2, 14}}}), Exactly(198, 99));
}

TEST(CountByStatus, CountsAFailedCallOnceWhateverItsCode) {
  EXPECT_EQ(ByStatus(View::kRequests, Calls(20, {{14, 20}}, {{503, 20}})), Exactly(20, 20));
  EXPECT_EQ(ByStatus(View::kRequests, Calls(20, {{14, 20}})), Exactly(20, 20));
}

TEST(CountByStatus, CountsAnswersWithoutAStatusWhereTheirCodeIsAnError) {
  EXPECT_EQ(ByStatus(View::kRequests, Calls(20, {}, {{500, 12}})), Exactly(12, 12));
  // Of four UNAVAILABLE calls none, some or all were 503s.
  EXPECT_EQ(ByStatus(View::kRequests, Calls(20, {{0, 10}, {14, 4}}, {{503, 5}})),
            (Outcomes{19, 5, 9}));
}

// A stream is answered in one tick and ends in another.
TEST(CountByStatus, CountsACallWhenItEnds) {
  EXPECT_EQ(ByStatus(View::kRequests, Calls(7, {})), Exactly(0, 0));
  EXPECT_EQ(ByStatus(View::kRequests, Calls(0, {{0, 5}, {13, 2}})), Exactly(7, 2));
}

// Ten streams of earlier end well, ten calls end badly, and ten answers are bare 503s: what is
// without a status is told by all that was counted, since in this tick as many ended as were
// answered.
TEST(CountByStatus, BoundsBareErrorsByAllThatWasCounted) {
  OutcomeCounters tick = Calls(20, {{0, 10}, {13, 10}}, {{503, 10}});
  CountByStatus(tick, Without(Calls(130, {{0, 110}, {13, 10}}, {{503, 10}})));
  EXPECT_EQ(Apply(View::kRequests, tick, {}), (Outcomes{30, 10, 20}));
}

// Codes and statuses began from 0 when the cluster was rebuilt, `completed` went on: each of the
// 503s has its status, so nothing of before may stand for one without.
TEST(CountByStatus, DoubtsNothingForWhatCompletedBeforeTheClusterWasRebuilt) {
  OutcomeCounters tick = Calls(100, {{0, 90}, {14, 10}}, {{503, 10}});
  OutcomeCounters since_start = tick;
  since_start.completed = 5000;
  CountByStatus(tick, Without(since_start));
  EXPECT_EQ(Apply(View::kRequests, tick, {}), Exactly(100, 10));
}

TEST(CountByStatus, LeavesTheSumOfTicksAtMostWhereItWas) {
  OutcomeCounters sum = Calls(110, {{14, 100}}, {{503, 100}});  // ten streams are open
  const OutcomeCounters later = Calls(110, {{0, 10}, {14, 100}}, {{503, 100}});
  OutcomeCounters tick = Difference(later, sum).value();
  CountByStatus(sum, Without(sum));
  const Outcomes before = Apply(View::kRequests, sum, {});
  CountByStatus(tick, Without(later));
  sum += tick;
  const Outcomes after = Apply(View::kRequests, sum, {});
  EXPECT_GE(after.completed, before.completed);
  EXPECT_GE(after.failures_high, before.failures_high);
  EXPECT_EQ(after.failures_low, 100U);
}

TEST(CountByStatus, LeavesOtherSidecarsTheirCodes) {
  OutcomeCounters sum = Completed(1000, 20);
  OutcomeCounters calls = Calls(5, {{0, 4}, {2, 1}});
  CountByStatus(calls, Without(calls));
  sum += calls;
  EXPECT_EQ(Apply(View::kRequests, sum, {}), Exactly(1005, 21));
}

TEST(CountByStatus, DoubtsFirstTriesWhereRetriesFollowAnswers) {
  const OutcomeCounters counted = Calls(100, {{0, 100}}, {}, 30);
  const std::vector<consul::RetryRule> exhausted = {{.grpc_statuses = {8, 14}}};
  EXPECT_EQ(ByStatus(View::kFirstTry, counted, exhausted), (Outcomes{100, 0, 30}));
  EXPECT_EQ(ByStatus(View::kAttempts, counted, exhausted), (Outcomes{130, 0, 30}));
  EXPECT_EQ(ByStatus(View::kFirstTry, counted), (Outcomes{100, 0, 30}));
}

// An UNAVAILABLE that Envoy itself answers is not retried for RetryOn "unavailable".
TEST(CountByStatus, DoubtsUnavailableWhereConnectionsThatFailAreNotRetried) {
  const OutcomeCounters counted = Calls(100, {{0, 90}, {14, 10}}, {{503, 10}}, 10);
  EXPECT_EQ(ByStatus(View::kFirstTry, counted, kUnavailableRetried), (Outcomes{100, 10, 20}));
  const std::vector<consul::RetryRule> all = {{.on_connect_failure = true, .grpc_statuses = {14}}};
  EXPECT_EQ(ByStatus(View::kFirstTry, counted, all), Exactly(100, 20));
}

TEST(CountByStatus, KnowsWhichStatusesAreTheServicesFault) {
  for (int status = 0; status <= 17; ++status) {
    const bool failed = status == 2 || status == 4 || status == 12 || status == 13 ||
                        status == 14 || status == 15 || status == 17;
    EXPECT_EQ(ByStatus(View::kRequests, Calls(3, {{status, 3}})), Exactly(3, failed ? 3 : 0))
        << status;
  }
}

TEST(Advance, CountsAServiceByStatusAsSoonAsAnyOfItsSubsetsHasOne) {
  Baselines baselines;
  (void)Advance(baselines, {{"a", {{"primary", Completed(0)}, {"canary", Completed(0)}}}});
  const TickOutcomes tick =
      Advance(baselines, {{"a", {{"primary", Calls(9, {{0, 9}})}, {"canary", Completed(5, 2)}}}});
  EXPECT_EQ(Apply(View::kRequests, tick.by_subset.at("primary"), {}), Exactly(9, 0));
  EXPECT_EQ(Apply(View::kRequests, tick.by_subset.at("canary"), {}), Exactly(2, 2));
}

// A state that was stored before statuses were, or a cluster that has only now become gRPC's.
TEST(Advance, DropsTheTickInWhichStatusesAppearAfterOtherCalls) {
  Baselines baselines = {{"a", {{"canary", Completed(1000)}}}};
  const TickOutcomes first = Advance(baselines, {{"a", {{"canary", Calls(1001, {{0, 1001}})}}}});
  EXPECT_TRUE(first.by_subset.empty());
  EXPECT_EQ(first.reset_sidecars, std::vector<std::string>{"a"});
  const TickOutcomes next =
      Advance(baselines, {{"a", {{"canary", Calls(1003, {{0, 1002}, {14, 1}})}}}});
  EXPECT_EQ(Apply(View::kRequests, next.by_subset.at("canary"), {}), Exactly(2, 1));
}

TEST(Apply, CountsServerErrorsAlone) {
  const OutcomeCounters counted = Counters(100, 0, 0, {{404, 20}, {499, 1}, {599, 2}, {600, 3}});
  EXPECT_EQ(Apply(View::kRequests, counted, {}), Exactly(100, 2));
}

// A request's counters may move in two scrapes: the code in the first, its completion in the next.
TEST(Apply, NeverFailsMoreThanCompleted) {
  EXPECT_EQ(Apply(View::kFirstTry, Counters(1, 3, 3, {{500, 1}}, {{500, 3}}), kAllRetried),
            Exactly(1, 1));
  EXPECT_EQ(Apply(View::kRequests, Completed(0, 2), {}), Exactly(0, 0));
}

TEST(ToOutcomeCounters, KeepsCodesFrom400OnAndEveryRetriedOne) {
  SubsetCounters counters;
  counters.completed = 9;
  counters.retries = 3;
  counters.retry_success = 2;
  counters.responses = {{200, 5}, {304, 1}, {400, 1}, {503, 2}};
  counters.retried_responses = {{200, 1}, {503, 2}};
  OutcomeCounters kept = Counters(9, 3, 2, {{400, 1}, {503, 2}}, {{200, 1}, {503, 2}});
  kept.answers = 9;
  EXPECT_EQ(ToOutcomeCounters(counters), kept);
}

TEST(Difference, SubtractsAndLeavesOutWhatDidNotMove) {
  EXPECT_EQ(Difference(Counters(10, 4, 3, {{500, 2}, {503, 1}}, {{500, 4}}),
                       Counters(7, 4, 2, {{500, 2}}, {{500, 1}})),
            Counters(3, 0, 1, {{503, 1}}, {{500, 3}}));
}

TEST(Difference, IsNothingWhenAnyCounterWentDown) {
  const OutcomeCounters earlier = Counters(10, 4, 3, {{500, 2}}, {{500, 4}});
  EXPECT_EQ(Difference(Counters(9, 4, 3, {{500, 2}}, {{500, 4}}), earlier), std::nullopt);
  EXPECT_EQ(Difference(Counters(11, 3, 3, {{500, 2}}, {{500, 4}}), earlier), std::nullopt);
  EXPECT_EQ(Difference(Counters(11, 4, 2, {{500, 2}}, {{500, 4}}), earlier), std::nullopt);
  EXPECT_EQ(Difference(Counters(11, 4, 3, {{500, 2}}, {{500, 3}}), earlier), std::nullopt);
}

// As on a real Envoy: when a cluster is rebuilt, the counters by code start anew, completed goes
// on.
TEST(Difference, IsNothingWhenACodeIsGone) {
  EXPECT_EQ(
      Difference(Counters(15, 4, 3, {}, {{500, 4}}), Counters(10, 4, 3, {{500, 2}}, {{500, 4}})),
      std::nullopt);
}

TEST(Advance, AddsWhatIsNewOverSidecars) {
  Baselines baselines = {{"a", {{"canary", Completed(10, 1)}}}, {"b", {{"canary", Completed(5)}}}};
  const TickOutcomes tick = Advance(
      baselines, {{"a", {{"canary", Completed(14, 3)}}}, {"b", {{"canary", Completed(6)}}}});
  EXPECT_EQ(tick.by_subset.at("canary"), Completed(5, 2));
  EXPECT_EQ(baselines.at("a").at("canary"), Completed(14, 3));
  EXPECT_TRUE(tick.new_sidecars.empty());
  EXPECT_TRUE(tick.reset_sidecars.empty());
}

TEST(Advance, TakesANewSidecarAsBaselineOnly) {
  Baselines baselines;
  const TickOutcomes tick = Advance(baselines, {{"a", {{"canary", Completed(1000, 900)}}}});
  EXPECT_TRUE(tick.by_subset.empty());
  EXPECT_EQ(tick.new_sidecars, std::vector<std::string>{"a"});
  EXPECT_EQ(Advance(baselines, {{"a", {{"canary", Completed(1001, 900)}}}}).by_subset.at("canary"),
            Completed(1));
}

TEST(Advance, CountsANewSubsetOfAKnownSidecarFromZero) {
  Baselines baselines = {{"a", {{"primary", Completed(10)}}}};
  const TickOutcomes tick =
      Advance(baselines, {{"a", {{"primary", Completed(11)}, {"canary", Completed(3, 2)}}}});
  EXPECT_EQ(tick.by_subset.at("canary"), Completed(3, 2));
}

TEST(Advance, DropsARestartedSidecarForAllSubsetsAndGoesOnFromThere) {
  Baselines baselines = {{"a", {{"primary", Completed(10)}, {"canary", Completed(50)}}}};
  const TickOutcomes tick =
      Advance(baselines, {{"a", {{"primary", Completed(12)}, {"canary", Completed(4)}}}});
  EXPECT_TRUE(tick.by_subset.empty());
  EXPECT_EQ(tick.reset_sidecars, std::vector<std::string>{"a"});
  EXPECT_EQ(Advance(baselines, {{"a", {{"canary", Completed(6)}}}}).by_subset.at("canary"),
            Completed(2));
}

TEST(Advance, KeepsTheBaselineOfASidecarThatIsLate) {
  Baselines baselines = {{"a", {{"canary", Completed(10)}}}};
  EXPECT_EQ(Advance(baselines, {}), TickOutcomes());
  EXPECT_EQ(Advance(baselines, {{"a", {{"canary", Completed(13)}}}}).by_subset.at("canary"),
            Completed(3));
}

TEST(Advance, KeepsTheBaselineOfASubsetThatIsMissingOnce) {
  Baselines baselines = {{"a", {{"canary", Completed(10)}}}};
  EXPECT_TRUE(Advance(baselines, {{"a", {}}}).by_subset.empty());
  EXPECT_EQ(Advance(baselines, {{"a", {{"canary", Completed(11)}}}}).by_subset.at("canary"),
            Completed(1));
}

// A reading of the canary, the primary answering all at once.
SubsetFlights At(double seconds, FlightReading canary) {
  return {seconds, canary, {static_cast<std::uint64_t>(100 * seconds), 0}};
}

TEST(AdvanceLate, ABlockEndsOnceAGoodPartIsLate) {
  LateBlocks blocks = BeginLate(At(0, {1000, 2}));
  EXPECT_EQ(AdvanceLate(blocks, At(1, {1000, 7}), 2).seconds, 0);  // the first part is not over
  EXPECT_EQ(AdvanceLate(blocks, At(2, {1000, 12}), 2).seconds, 0);
  // Of the 12 then under way 2 are of no block and 3 were answered; 3 + 19 - 2 have begun since.
  const LateTick tick = AdvanceLate(blocks, At(4, {1003, 19}), 2);
  EXPECT_EQ(tick.seconds, 4);
  EXPECT_EQ(tick.canary, (LateOutcomes{20, 7}));
  EXPECT_EQ(tick.primary, (LateOutcomes{400, 0}));
  EXPECT_EQ(blocks, BeginLate(At(4, {1003, 19})));
}

TEST(AdvanceLate, ARequestThatHangsForLongCountsInItsOwnBlockAlone) {
  LateBlocks blocks = BeginLate(At(0, {0, 0}));
  (void)AdvanceLate(blocks, At(2, {0, 5}), 2);
  EXPECT_EQ(AdvanceLate(blocks, At(4, {0, 5}), 2).canary, (LateOutcomes{5, 5}));
  for (int at = 6; at < 20; at += 2) {  // they still hang, and nothing new comes
    EXPECT_EQ(AdvanceLate(blocks, At(at, {0, 5}), 2).seconds, 0) << at;
  }
  EXPECT_EQ(AdvanceLate(blocks, At(20, {0, 5}), 2).canary, LateOutcomes());
}

TEST(AdvanceLate, WhatCallersGaveUpIsNotLate) {
  LateBlocks blocks = BeginLate(At(0, {0, 0}));
  (void)AdvanceLate(blocks, At(2, {0, 9}), 2);
  (void)AdvanceLate(blocks, At(4, {0, 0}), 2);  // the only caller restarts
  for (int at = 6; at < 16; at += 2) (void)AdvanceLate(blocks, At(at, {0, 0}), 2);
  EXPECT_EQ(AdvanceLate(blocks, At(16, {0, 0}), 2).canary, LateOutcomes());
}

TEST(AdvanceLate, SaysNothingWhereThroughputHidesIt) {
  LateBlocks blocks = BeginLate(At(0, {0, 5}));
  for (int at = 2; at < 16; at += 2) {
    (void)AdvanceLate(blocks, At(at, {static_cast<std::uint64_t>(100 * at), 9}), 2);
  }
  EXPECT_EQ(AdvanceLate(blocks, At(16, {1600, 5}), 2).canary, (LateOutcomes{1600, 0}));
}

TEST(AdvanceLate, BeginsAnewWhereCountersWentDown) {
  LateBlocks blocks = BeginLate(At(0, {50, 5}));
  EXPECT_EQ(AdvanceLate(blocks, At(3, {2, 4}), 2).seconds, 0);
  EXPECT_EQ(blocks, BeginLate(At(3, {2, 4})));
}

OutcomeCounters TimedCounters(std::uint64_t timed, std::map<double, std::uint64_t> faster) {
  OutcomeCounters counters = Completed(timed);
  counters.timed = timed;
  counters.faster = std::move(faster);
  return counters;
}

TEST(Histograms, ADifferenceHasEveryEdgeEvenWhereNothingWasAdded) {
  const auto difference =
      Difference(TimedCounters(12, {{1, 5}, {10, 10}}), TimedCounters(10, {{1, 5}, {10, 9}}));
  ASSERT_TRUE(difference);
  EXPECT_EQ(*difference, TimedCounters(2, {{1, 0}, {10, 1}}));
}

TEST(Histograms, OneThatWentDownOrHasOtherEdgesAddsNothingWhileCountersGoOn) {
  const OutcomeCounters before = TimedCounters(10, {{1, 5}, {10, 9}});
  for (const auto& faster : std::vector<std::map<double, std::uint64_t>>{
           {{1, 4}, {10, 10}}, {{1, 6}, {20, 10}}, {{1, 6}}}) {
    EXPECT_EQ(Difference(TimedCounters(12, faster), before), Completed(2));
  }
}

TEST(Histograms, OfSidecarsWithOtherEdgesOnlyTheCommonOnesAddUp) {
  OutcomeCounters sum = TimedCounters(10, {{1, 5}, {10, 9}});
  sum += OutcomeCounters();  // no histogram yet
  sum += TimedCounters(4, {{5, 2}, {10, 3}});
  EXPECT_EQ(sum, TimedCounters(14, {{10, 12}}));
}

TEST(Outcomes, AddUp) {
  Outcomes sum{10, 1, 2};
  sum += Outcomes{5, 2, 3};
  EXPECT_EQ(sum, (Outcomes{15, 3, 5}));
}

}  // namespace
}  // namespace consul_canary::envoy
