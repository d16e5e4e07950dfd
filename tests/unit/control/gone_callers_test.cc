// How long a caller is remembered that Consul lists no more, and what its return is worth.
#include "analyzer/control/gone_callers.h"

#include <gtest/gtest.h>

#include "analyzer/control/take_counts.h"

namespace consul_canary::control {
namespace {

using base::MonotonicTime;
using base::seconds;
using Names = std::vector<std::string>;

constexpr MonotonicTime kBegin{seconds(1000)};

rollout::Spec ApiSpec() {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 10}};
  return spec;
}

// Two callers, of which `shop` may be gone.
class GoneCallers : public ::testing::Test {
 protected:
  GoneCallers() {
    managed_.state.phase = rollout::Phase::kProgressing;
    managed_.state.stage = rollout::Stage::kStepping;
    Look(kBegin);
  }

  // A tick: who is there has counted so many requests of the canary by now.
  Names Look(MonotonicTime now, bool catalog_known = true) {
    collect::ServiceSnapshot service{.service = "api"};
    for (const auto& [id, completed] : completed_) {
      std::map<std::string, envoy::SubsetCounters> subsets;
      subsets["canary"].completed = completed;
      service.callers.push_back(
          {.id = id, .passing = true, .scraped_at = now, .subsets = std::move(subsets)});
    }
    Names dropped = ForgetCallers(managed_, service, catalog_known, now, managed_.state);
    counted_ += TakeCounts(ApiSpec(), service, managed_.state).canary.low.completed;
    return dropped;
  }

  bool Remembers(const std::string& id) { return managed_.state.baselines.contains(id); }

  Managed managed_;
  std::map<std::string, std::uint64_t> completed_{{"web", 100}, {"shop", 100}};
  std::int64_t counted_ = 0;
};

TEST_F(GoneCallers, OneThatComesBackWithinMinutesIsCountedFromWhereItWas) {
  completed_.erase("shop");
  EXPECT_EQ(Look(kBegin + seconds(1)), Names());
  EXPECT_EQ(Look(kBegin + seconds(300)), Names());
  EXPECT_TRUE(Remembers("shop"));
  completed_["shop"] = 107;
  EXPECT_EQ(Look(kBegin + seconds(301)), Names());
  EXPECT_EQ(counted_, 7);
  // And is remembered as long again.
  completed_.erase("shop");
  EXPECT_EQ(Look(kBegin + seconds(400)), Names());
  EXPECT_EQ(Look(kBegin + seconds(699)), Names());
  EXPECT_TRUE(Remembers("shop"));
}

TEST_F(GoneCallers, OneThatStaysAwayIsForgottenAndNothingOfItCountsTwice) {
  completed_["shop"] = 103;
  Look(kBegin + seconds(1));
  completed_.erase("shop");
  Look(kBegin + seconds(2));
  EXPECT_EQ(Look(kBegin + seconds(301)), Names());
  EXPECT_EQ(Look(kBegin + seconds(302)), Names{"shop"});
  EXPECT_FALSE(Remembers("shop"));
  EXPECT_TRUE(Remembers("web"));
  EXPECT_EQ(Look(kBegin + seconds(303)), Names());
  completed_["shop"] = 150;
  Look(kBegin + seconds(310));
  EXPECT_EQ(counted_, 3);
  completed_["shop"] = 152;
  Look(kBegin + seconds(311));
  EXPECT_EQ(counted_, 5);
}

TEST_F(GoneCallers, WhileConsulIsNotToBeBelievedNobodyIsGone) {
  completed_.erase("shop");
  Look(kBegin + seconds(1));
  Look(kBegin + seconds(200), false);
  Look(kBegin + seconds(400));
  EXPECT_TRUE(Remembers("shop"));
  EXPECT_EQ(Look(kBegin + seconds(699)), Names());
  EXPECT_EQ(Look(kBegin + seconds(700)), Names{"shop"});
}

TEST_F(GoneCallers, ANewLeaderWaitsAsLong) {
  completed_.erase("shop");
  Look(kBegin + seconds(1));
  const rollout::State state = managed_.state;
  BeginLead(managed_, 7, std::nullopt);
  managed_.state = state;
  EXPECT_EQ(Look(kBegin + seconds(301)), Names());
  EXPECT_EQ(Look(kBegin + seconds(601)), Names{"shop"});
}

// What was decided with it is decided anew.
TEST_F(GoneCallers, OneWhoseEndWasNotStoredIsForgottenWithTheNextLook) {
  completed_.erase("shop");
  Look(kBegin + seconds(1));
  const rollout::State before = managed_.state;
  EXPECT_EQ(Look(kBegin + seconds(301)), Names{"shop"});
  managed_.state = before;
  EXPECT_EQ(Look(kBegin + seconds(302)), Names{"shop"});
  EXPECT_FALSE(Remembers("shop"));
}

TEST_F(GoneCallers, BetweenRolloutsAreForgottenAtOnce) {
  managed_.state.phase = rollout::Phase::kSucceeded;
  completed_.erase("shop");
  EXPECT_EQ(Look(kBegin + seconds(1), false), Names());
  EXPECT_TRUE(Remembers("shop"));
  EXPECT_EQ(Look(kBegin + seconds(2)), Names());
  EXPECT_FALSE(Remembers("shop"));
}

}  // namespace
}  // namespace consul_canary::control
