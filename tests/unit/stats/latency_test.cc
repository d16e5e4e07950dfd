#include "analyzer/stats/latency.h"

#include <gtest/gtest.h>

#include <vector>

#include "analyzer/stats/late.h"

namespace consul_canary::stats {
namespace {

using Edges = std::vector<double>;

// 10000 requests: most between 25 and 100 ms.
const LatencyCounts kPrimary = {10000,
                                {{.005, 10000},
                                 {.01, 9900},
                                 {.025, 9700},
                                 {.05, 5000},
                                 {.1, 400},
                                 {.25, 20},
                                 {.5, 4},
                                 {1.0, 1},
                                 {2.5, 0},
                                 {5.0, 0}}};

TEST(SlowerThan, IsAnOutcomeWithTwoValues) {
  EXPECT_EQ(SlowerThan(kPrimary, .1), (Counts{10000, 400}));
  EXPECT_EQ(SlowerThan(kPrimary, .2), std::nullopt);
}

TEST(SlowerThan, KnowsAnEdgeWhoseLastDigitDiffers) {
  EXPECT_EQ(SlowerThan({10, {{.1 + 1e-17 * 10, 3}}}, .1), (Counts{10, 3}));
  EXPECT_EQ(SlowerThan({10, {{2.5 / 1000 * 3, 3}}}, .0075), (Counts{10, 3}));
}

TEST(SlowerThan, HasEveryEdgeWhereNothingWasTimed) { EXPECT_EQ(SlowerThan({}, .1), Counts{}); }

TEST(EdgesToWatch, AreThoseThatThePrimaryCrossesNowAndThenAndOneAbove) {
  EXPECT_EQ(EdgesToWatch(kPrimary), (Edges{.025, .05, .1, .25, .5}));
}

TEST(EdgesToWatch, BeginWhereSomebodyFeelsIt) {
  const LatencyCounts fast{1000, {{.0005, 600}, {.001, 200}, {.005, 9}, {.01, 0}}};
  EXPECT_EQ(EdgesToWatch(fast), (Edges{.005, .01}));
  EXPECT_EQ(EdgesToWatch({1000, {{.0005, 600}, {.001, 0}, {.005, 0}, {.01, 0}}}), Edges{.005});
}

TEST(EdgesToWatch, EndWithTheHistogramWhereThePrimaryCrossesItsLastEdge) {
  EXPECT_EQ(EdgesToWatch({1000, {{.1, 900}, {.25, 30}}}), (Edges{.1, .25}));
}

TEST(EdgesToWatch, IsTheOneAboveWhereAllRequestsTakeAboutTheSame) {
  EXPECT_EQ(EdgesToWatch({1000, {{.1, 1000}, {.25, 0}, {.5, 0}}}), Edges{.25});
}

TEST(EdgesToWatch, AreNoneWhereThePrimaryIsSlowerThanAllEdgesOrHardlyKnown) {
  EXPECT_EQ(EdgesToWatch({1000, {{.1, 1000}, {.25, 1000}}}), Edges{});
  EXPECT_EQ(EdgesToWatch({99, {{.1, 50}, {.25, 3}}}), Edges{});
  EXPECT_EQ(EdgesToWatch({}), Edges{});
}

TEST(EdgesToWatch, LeavesOutEveryOtherFromBelowWhereThereAreMoreThanTwelve) {
  LatencyCounts fine{1000, {}};
  for (int i = 1; i <= 16; ++i) fine.slower.emplace_back(i, 970 - 50 * i);
  EXPECT_EQ(EdgesToWatch(fine), (Edges{2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16}));
}

TEST(EdgesToWatch, AreNeverMoreThanTwelve) {
  LatencyCounts fine{100'000, {}};
  for (int i = 1; i <= 90; ++i) fine.slower.emplace_back(i, 97'000 - 1000 * i);
  const Edges edges = EdgesToWatch(fine);
  EXPECT_EQ(edges.size(), 12u);
  EXPECT_TRUE(std::is_sorted(edges.begin(), edges.end()));
  EXPECT_EQ(edges.back(), 90.0);
}

TEST(LateAfter, IsTheLeastEdgeThatHardlyAnyRequestOfThePrimaryCrosses) {
  EXPECT_EQ(LateAfter(kPrimary), .5);  // 4 of 10000 cross it, 20 the edge below
  EXPECT_EQ(LateAfter({10000, {{.1, 8}, {.25, 5}, {.5, 0}}}), .25);
}

TEST(LateAfter, IsNotKnownWhereTooManyCrossAllEdges) {
  EXPECT_EQ(LateAfter({1000, {{.1, 900}, {.25, 30}}}), std::nullopt);
}

TEST(LateAfter, IsNotKnownOfFewRequestsOrWithoutEdges) {
  EXPECT_EQ(LateAfter({999, {{.1, 0}}}), std::nullopt);
  EXPECT_EQ(LateAfter({1000, {{.1, 0}}}), .1);
  EXPECT_EQ(LateAfter({1000, {}}), std::nullopt);
}

TEST(Edges, AreFoundBelowAndAbove) {
  EXPECT_EQ(EdgeAtOrBelow(kPrimary, .2), .1);
  EXPECT_EQ(EdgeAtOrAbove(kPrimary, .2), .25);
  EXPECT_EQ(EdgeAtOrBelow(kPrimary, .25), .25);
  EXPECT_EQ(EdgeAtOrAbove(kPrimary, .25), .25);
  EXPECT_EQ(EdgeAtOrBelow(kPrimary, .001), std::nullopt);
  EXPECT_EQ(EdgeAtOrAbove(kPrimary, 6.0), std::nullopt);
}

TEST(MeanSecondsAtMost, TakesEachRequestAsSlowAsItsBucketAllows) {
  // 50 of up to .1 s, 40 of up to .5, and 10 that took longer than all edges.
  EXPECT_DOUBLE_EQ(MeanSecondsAtMost({100, {{.1, 50}, {.5, 10}}}), .5 * .1 + .5 * .5);
  EXPECT_EQ(MeanSecondsAtMost({}), 0);
}

}  // namespace
}  // namespace consul_canary::stats
