#include "analyzer/control/rendezvous.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace consul_canary::control {
namespace {

const std::set<std::string> kThree{"a:9656", "b:9656", "c:9656"};

std::string Service(int number) { return "service-" + std::to_string(number); }

// Analyzers of two releases must agree. The numbers are those of FNV-1a and fmix64 in Python.
TEST(Rendezvous, WeightsAreTheSameEverywhere) {
  EXPECT_EQ(RendezvousWeight("api", "a:9656"), 16370734280320008127ULL);
  EXPECT_EQ(RendezvousWeight("", ""), 13331581593930102267ULL);
}

TEST(Rendezvous, GivesEachAnalyzerItsShare) {
  std::map<std::string, int> count;
  for (int i = 0; i < 3000; ++i) ++count[Preferred(Service(i), kThree)];
  for (const auto& [name, rollouts] : count) EXPECT_NEAR(rollouts, 1000, 100) << name;
}

TEST(Rendezvous, MovesOnlyWhatBelongedToTheOneThatLeft) {
  const std::set<std::string> two{"a:9656", "c:9656"};
  for (int i = 0; i < 300; ++i) {
    const std::string before = Preferred(Service(i), kThree);
    if (before == "b:9656") continue;
    EXPECT_EQ(Preferred(Service(i), two), before);
  }
}

TEST(Rendezvous, RanksEveryAnalyzerOnce) {
  for (int i = 0; i < 100; ++i) {
    std::set<std::size_t> ranks;
    for (const std::string& name : kThree) {
      const std::size_t rank = RankOf(name, Service(i), kThree);
      EXPECT_EQ(rank == 0, name == Preferred(Service(i), kThree));
      ranks.insert(rank);
    }
    EXPECT_EQ(ranks, (std::set<std::size_t>{0, 1, 2}));
  }
}

TEST(Rendezvous, PrefersNobodyWhereNobodyIs) { EXPECT_EQ(Preferred("api", {}), ""); }

}  // namespace
}  // namespace consul_canary::control
