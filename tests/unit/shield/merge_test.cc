#include "analyzer/shield/merge.h"

#include <gtest/gtest.h>

#include "tests/unit/shield/shield_mesh.h"

namespace consul_canary::shield {
namespace {

const Json kUsers = Json::parse(R"({"Kind": "service-defaults", "Name": "web", "ModifyIndex": 7,
    "Meta": {"team": "a"}, "Protocol": "http", "MaxInboundConnections": 40,
    "UpstreamConfig": {"Overrides": [{"Name": "api", "ConnectTimeoutMs": 900,
      "PassiveHealthCheck": {"Interval": 10000000000, "MaxFailures": 9}}]}})");
constexpr const char* kFailures =
    "UpstreamConfig/Overrides/[Name=api]/PassiveHealthCheck/MaxFailures";

TEST(Merge, KeepsEveryOtherFieldAndGivesBackWhatWas) {
  const Write write = Merge(kUsers, "service-defaults", "web", {{kFailures, 1}, {"Fresh/a", 2}});
  ASSERT_TRUE(write.wanted);
  EXPECT_EQ(Find(*write.wanted, kFailures), Json(1));
  Json without = AsWritten(*write.wanted);
  without.erase("Fresh");
  Put(without, kFailures, 9);
  EXPECT_EQ(without, AsWritten(kUsers));
  const Write back = Restore(*write.wanted, "");
  EXPECT_EQ(back.wanted, kUsers);
  EXPECT_TRUE(back.left.empty());
}

TEST(Merge, ASecondTimeChangesNothing) {
  const std::vector<Wish> wishes = {{kFailures, 1}};
  const Write once = Merge(kUsers, "service-defaults", "web", wishes);
  const Write twice = Merge(once.wanted, "service-defaults", "web", wishes);
  EXPECT_TRUE(twice.changes_nothing());
  EXPECT_EQ(twice.wanted, once.wanted);
}

TEST(Merge, WhatAPersonChangedSinceIsLeftInBothDirections) {
  const std::vector<Wish> wishes = {{kFailures, 1}, {"Fresh/a", 2}};
  Json changed = *Merge(kUsers, "service-defaults", "web", wishes).wanted;
  Put(changed, kFailures, 4);
  const Write again = Merge(changed, "service-defaults", "web", wishes);
  EXPECT_EQ(again.left, std::vector<std::string>{kFailures});
  EXPECT_TRUE(again.changes_nothing());
  const Write back = Restore(changed, "");
  EXPECT_EQ(back.left, std::vector<std::string>{kFailures});
  EXPECT_EQ(Find(*back.wanted, kFailures), Json(4));
  EXPECT_FALSE(Find(*back.wanted, "Fresh"));
  EXPECT_FALSE(HasMemory(*back.wanted));
}

TEST(Merge, WhatAPersonTookOutSinceIsPutInAgainAndRemembersTheFirstValue) {
  const std::vector<Wish> wishes = {{kFailures, 1}};
  Json changed = *Merge(kUsers, "service-defaults", "web", wishes).wanted;
  TakeOut(changed, kFailures);
  const Write again = Merge(changed, "service-defaults", "web", wishes);
  EXPECT_EQ(Find(*again.wanted, kFailures), Json(1));
  EXPECT_EQ(Find(*Restore(*again.wanted, "").wanted, kFailures), Json(9));
}

TEST(Merge, AnEntryThatWasMadeForItGoesWithItUnlessSomebodyUsesIt) {
  const Write made = Merge(std::nullopt, "service-router", "api",
                           {{"Routes/[route=all]/Destination/NumRetries", 3}});
  ASSERT_TRUE(made.wanted);
  EXPECT_FALSE(Restore(*made.wanted, "").wanted);
  Json used = *made.wanted;
  used["Routes"][0]["Destination"]["RequestTimeout"] = "9s";
  const Write back = Restore(used, "");
  ASSERT_TRUE(back.wanted);
  EXPECT_EQ(AsWritten(*back.wanted)["Routes"].dump(),
            R"([{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"RequestTimeout":"9s"}}])");
}

TEST(Merge, TheMemoryFitsIntoConsulsMetaAndComesBackWhole) {
  Json entry = Json{{"Kind", "service-router"}, {"Name", "api"}};
  Memory memory{.made = {"Routes/[route=all]"}, .entry_made = true};
  for (int i = 0; i < 20; ++i) {
    memory.edits.push_back({"Routes/[route=" + std::to_string(i) + "]/Destination/NumRetries",
                            i % 2 == 0 ? std::optional<Json>(i) : std::nullopt, "\xc3\xa4 \" 3"});
  }
  Remember(entry, memory);
  for (const auto& [key, value] : entry["Meta"].items()) {
    EXPECT_LE(key.size(), 128U);
    EXPECT_LE(value.get<std::string>().size(), 512U);
  }
  EXPECT_EQ(MemoryOf(entry), memory);
}

TEST(Merge, OfSeveralServicesOneIsTakenOut) {
  const std::string db = "UpstreamConfig/Overrides/[Name=db]/PassiveHealthCheck/MaxFailures";
  const Write both = Merge(kUsers, "service-defaults", "web", {{kFailures, 1}, {db, 1}});
  const Write back = Restore(*both.wanted, "=api]");
  EXPECT_EQ(Find(*back.wanted, kFailures), Json(9));
  EXPECT_EQ(Find(*back.wanted, db), Json(1));
  EXPECT_EQ(Restore(*back.wanted, "=db]").wanted, kUsers);
}

TEST(Merge, WhatKubernetesOwnsIsNotWritten) {
  Json owned = kUsers;
  owned["Meta"]["consul.hashicorp.com/source-datacenter"] = "dc1";
  EXPECT_NE(Merge(owned, "service-defaults", "web", {{kFailures, 1}}).not_possible, "");
  EXPECT_EQ(Merge(owned, "service-defaults", "web", {{kFailures, 9}}).not_possible, "")
      << "nothing to write";
}

}  // namespace
}  // namespace consul_canary::shield
