// Every order of events up to a stated depth: CONSUL_CANARY_STATES_DEPTH, 2 by default.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/states/exploration.h"

namespace consul_canary::states {
namespace {

constexpr int kDepth = 2;

int Depth() {
  const char* const asked = std::getenv("CONSUL_CANARY_STATES_DEPTH");
  return asked == nullptr ? kDepth : std::atoi(asked);
}

class EveryOrder : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryOrder, OfEventsKeepsTheClaimsAndEnds) {
  const Found found = Explore(RulesNamed(GetParam()), Depth());
  fmt::print(
      "{}: {} worlds within {} events of {} beginnings, {} events applied, quiet within {} "
      "ticks\n",
      GetParam(), found.worlds, Depth(), found.beginnings, found.events, found.longest_quiet_ticks);
  for (const std::string& problem : found.problems) ADD_FAILURE() << problem;
  EXPECT_GT(found.beginnings, 10U);
}

INSTANTIATE_TEST_SUITE_P(States, EveryOrder, ::testing::ValuesIn(NamesOfRules()),
                         [](const auto& named) { return named.param; });

}  // namespace
}  // namespace consul_canary::states
