// `strategy.match` as routes of a service-router, and the writes that bring a router there.
#include "analyzer/control/match_routes.h"

#include <gtest/gtest.h>
#include <re2/re2.h>

#include <nlohmann/json.hpp>
#include <string>

#include "analyzer/control/managed.h"

namespace consul_canary::control {
namespace {

using nlohmann::json;
using rollout::Match;
using rollout::MatchKind;
using rollout::Routes;

rollout::Spec SpecWith(std::vector<Match> match) {
  rollout::Spec spec;
  spec.service = "api";
  spec.steps = {{.weight_percent = 0}};
  spec.match = std::move(match);
  return spec;
}

TEST(RoutesOf, SaysEachConditionOfAHeaderAsConsulDoes) {
  const auto routes = RoutesOf(SpecWith({{.header = "a", .kind = MatchKind::kExact, .value = "x"},
                                         {.header = "b", .kind = MatchKind::kPrefix, .value = "x"},
                                         {.header = "c", .kind = MatchKind::kSuffix, .value = "x"},
                                         {.header = "d", .kind = MatchKind::kRegex, .value = "x+"},
                                         {.header = "e", .kind = MatchKind::kPresent}}));
  EXPECT_EQ(routes.subset, "canary");
  const std::vector<consul::HeaderCondition> expected = {{"a", "Exact", "x"},
                                                         {"b", "Prefix", "x"},
                                                         {"c", "Suffix", "x"},
                                                         {"d", "Regex", "x+"},
                                                         {"e", "Present", ""}};
  EXPECT_EQ(routes.conditions, expected);
}

// Envoy holds the expression against the whole header.
bool Matches(const Match& match, const std::string& header) {
  const consul::HeaderCondition condition = RoutesOf(SpecWith({match})).conditions.front();
  EXPECT_EQ(condition.name, "cookie");
  EXPECT_EQ(condition.key, "Regex");
  return RE2::FullMatch(header, condition.value);
}

TEST(RoutesOf, FindsACookieAmongOthersAndNothingThatOnlyLooksLikeIt) {
  const Match exact{.cookie = "canary", .value = "1.0"};
  for (const char* header :
       {"canary=1.0", "a=b; canary=1.0", "canary=1.0; a=b", "a=b;canary=1.0;c=d"}) {
    EXPECT_TRUE(Matches(exact, header)) << header;
  }
  for (const char* header :
       {"", "canary=1x0", "canary=1.01", "acanary=1.0", "a=canary=1.0", "canary=", "Canary=1.0"}) {
    EXPECT_FALSE(Matches(exact, header)) << header;
  }
  const Match prefix{.cookie = "c", .kind = MatchKind::kPrefix, .value = "b-"};
  EXPECT_TRUE(Matches(prefix, "a=1; c=b-7; d=2"));
  EXPECT_FALSE(Matches(prefix, "c=x; d=b-7"));
  const Match suffix{.cookie = "c", .kind = MatchKind::kSuffix, .value = "-b"};
  EXPECT_TRUE(Matches(suffix, "c=7-b"));
  EXPECT_FALSE(Matches(suffix, "c=x; d=7-b"));
  const Match present{.cookie = "c", .kind = MatchKind::kPresent};
  EXPECT_TRUE(Matches(present, "c="));
  EXPECT_FALSE(Matches(present, "cc=1"));
}

struct Mesh {
  Managed managed;
  rollout::State state;
  rollout::Observation seen;
  collect::ServiceSnapshot service;

  explicit Mesh(Routes wanted) {
    managed.spec = SpecWith({{.header = "x-canary", .value = "always"}});
    managed.epoch = 7;
    state.phase = rollout::Phase::kProgressing;
    state.spec = managed.spec;
    state.wanted.routes = wanted;
    service.splitter = consul::Splitter{.name = "api", .modify_index = 9};
    seen.splitter = rollout::SplitterView{.epoch = 7};
    seen.entries_known = seen.instances_known = true;
    seen.canary_passing = 1;
  }

  void Take(const std::string& router, std::uint64_t index) {
    auto read = consul::ParseRouter(router);
    ASSERT_TRUE(read) << read.error().message;
    service.router = *read;
    service.router->modify_index = index;
    seen.router = RouterViewOf(*service.router, *managed.spec);
  }

  EntryWrite Write() {
    const PreparedWrites prepared = PrepareWrites(managed, state, seen, service);
    EXPECT_TRUE(prepared.refused.empty());
    EXPECT_EQ(prepared.writes.size(), 1U);
    return prepared.writes.empty() ? EntryWrite{} : prepared.writes.front();
  }
};

TEST(PrepareWrites, MakesARouterFillsItAndTakesItAway) {
  Mesh mesh(Routes::kPlaced);
  const EntryWrite made = mesh.Write();
  EXPECT_EQ(made.what, kRouterWrite);
  EXPECT_EQ(made.cas_index, 0U);
  EXPECT_TRUE(json::parse(made.json)["Routes"].empty()) << "late, it must lead nothing anywhere";
  mesh.Take(made.json, 20);
  const EntryWrite filled = mesh.Write();
  EXPECT_EQ(filled.cas_index, 20U);
  const json router = json::parse(filled.json);
  EXPECT_EQ(router["Routes"].size(), 1U);
  EXPECT_EQ(router["Meta"]["consul-canary-epoch"], "7");
  mesh.Take(filled.json, 21);
  mesh.state.wanted.routes = Routes::kNone;
  const EntryWrite gone = mesh.Write();
  EXPECT_TRUE(gone.removes);
  EXPECT_EQ(json::parse(gone.json)["Name"], "api");
  EXPECT_EQ(gone.cas_index, 21U);
}

TEST(PrepareWrites, TakesRoutesOutOfAnOwnersRouterAndLeavesIt) {
  Mesh mesh(Routes::kPlaced);
  mesh.Take(R"({"Kind": "service-router", "Name": "api", "Routes": [{"Destination": {}}]})", 20);
  mesh.Take(mesh.Write().json, 21);
  mesh.state.wanted.routes = Routes::kNone;
  const EntryWrite without = mesh.Write();
  EXPECT_FALSE(without.removes);
  EXPECT_EQ(json::parse(without.json)["Routes"].size(), 1U);
}

TEST(IsOutdated, WhereTheRouterWasReadBeforeOurOwnWrite) {
  Mesh mesh(Routes::kPlaced);
  mesh.Take(R"({"Kind": "service-router", "Name": "api"})", 20);
  EXPECT_FALSE(IsOutdated(mesh.managed, mesh.service));
  NoteReplaced(mesh.managed, {kRouterWrite, 20, true}, {});
  EXPECT_TRUE(IsOutdated(mesh.managed, mesh.service));
  mesh.service.router.reset();
  EXPECT_FALSE(IsOutdated(mesh.managed, mesh.service)) << "it was taken away";
}

TEST(AddDoubts, ARouterIsFencedOnceItCarriesTheEpoch) {
  Mesh mesh(Routes::kNone);
  mesh.managed.state = mesh.state;
  const auto fenced = [&mesh](std::optional<rollout::RouterView> router) {
    mesh.seen.router = std::move(router);
    AddDoubts(mesh.managed, {}, base::MonotonicTime{} + base::seconds(100), mesh.seen);
    return mesh.seen.fenced;
  };
  EXPECT_FALSE(fenced(rollout::RouterView{.epoch = 6}));
  EXPECT_TRUE(fenced(rollout::RouterView{.epoch = 7}));
  EXPECT_TRUE(fenced(std::nullopt));
  mesh.managed.state.spec->match.clear();
  EXPECT_TRUE(fenced(rollout::RouterView{})) << "no rollout has ever had to do with it";
}

}  // namespace
}  // namespace consul_canary::control
