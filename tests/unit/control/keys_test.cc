#include "analyzer/control/keys.h"

#include <gtest/gtest.h>

namespace consul_canary::control {
namespace {

TEST(Keys, OfEachKindThatIsWatchedLieBelowAPrefixOfTheirOwn) {
  EXPECT_EQ(SpecKey("api"), "consul-canary/specs/api");
  EXPECT_EQ(OrdersKey("api"), "consul-canary/orders/api/");
  EXPECT_EQ(OrderKey("api", 42), "consul-canary/orders/api/00000042");
  EXPECT_EQ(LockKey("api"), "consul-canary/locks/api");
  EXPECT_EQ(RolloutKey("api", "state"), "consul-canary/rollouts/api/state");
  EXPECT_EQ(RolloutKey("api", ""), "consul-canary/rollouts/api/");
  EXPECT_EQ(AnalyzerKey("host:9656"), "consul-canary/analyzers/host:9656");
}

TEST(Keys, TellTheirNumberWhereTheyAreOurs) {
  EXPECT_EQ(SequenceOf(OrderKey("api", 42)), 42U);
  EXPECT_EQ(SequenceOf(OrderKey("api", 123456789)), 123456789U);
  for (const char* key : {"consul-canary/orders/api/42", "consul-canary/orders/api/0000004x",
                          "consul-canary/orders/api/", "consul-canary/orders/api/-0000042", ""}) {
    EXPECT_EQ(SequenceOf(key), std::nullopt) << key;
  }
}

TEST(Keys, AfterIsEmptyForThePrefixItselfAndForOthers) {
  EXPECT_EQ(After(kSpecsPrefix, "consul-canary/specs/api"), "api");
  EXPECT_EQ(After(kSpecsPrefix, "consul-canary/specs/"), "");
  EXPECT_EQ(After(kSpecsPrefix, "consul-canary/orders/api"), "");
}

}  // namespace
}  // namespace consul_canary::control
