// Which places an analyzer rules, and how a rollout is named.
#include "analyzer/api/place_check.h"

#include <gtest/gtest.h>

namespace consul_canary::api {
namespace {

consul::Settings Team() { return {.namespace_name = "team", .partition = "north"}; }

rollout::Spec Api(const std::string& namespace_name, const std::string& partition) {
  return {.service = "api", .namespace_name = namespace_name, .partition = partition};
}

TEST(SettleNames, FillsTheAnalyzersOwnPlaceIn) {
  rollout::Spec spec = Api("", "");
  EXPECT_TRUE(SettleNames(Team(), spec).empty());
  EXPECT_EQ(spec.namespace_name, "team");
  EXPECT_EQ(spec.partition, "north");
  rollout::Spec plain = Api("", "");
  EXPECT_TRUE(SettleNames({}, plain).empty());
  EXPECT_EQ(plain.namespace_name, "default");
}

TEST(SettleNames, AcceptsTheAnalyzersOwnPlaceByName) {
  rollout::Spec spec = Api("team", "north");
  EXPECT_TRUE(SettleNames(Team(), spec).empty());
  rollout::Spec plain = Api("default", "default");
  EXPECT_TRUE(SettleNames({}, plain).empty());
}

TEST(SettleNames, RefusesEveryOtherPlaceWithTheRemedy) {
  rollout::Spec spec = Api("other", "default");
  const auto errors = SettleNames(Team(), spec);
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(config::ToString(errors[0]),
            "namespace: is other, but this analyzer rules team; leave it out, or ask an analyzer "
            "that was started with CONSUL_NAMESPACE=other");
  EXPECT_EQ(config::ToString(errors[1]),
            "partition: is default, but this analyzer rules north; leave it out, or ask an "
            "analyzer that was started with CONSUL_PARTITION=default");
}

TEST(IdOf, IsTheBareNameInTheDefaultPlaceAlone) {
  EXPECT_EQ(IdOf({}, "api"), "api");
  EXPECT_EQ(IdOf(Team(), "api"), "north.team.api");
  EXPECT_EQ(IdOf({.namespace_name = "team"}, "api"), "default.team.api");
  EXPECT_EQ(IdOf(Team(), "south.team.api"), "south.team.api");
  EXPECT_EQ(rollout::RolloutId(Api("default", "default")), "api");
}

}  // namespace
}  // namespace consul_canary::api
