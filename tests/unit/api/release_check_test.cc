// Which instances a release would let serve that the primary subset keeps out.
#include "analyzer/api/release_check.h"

#include <gtest/gtest.h>

#include "analyzer/api/query.h"

namespace consul_canary::api {
namespace {

rollout::Spec Spec() {
  rollout::Spec spec;
  spec.service = "api";
  return spec;
}

consul::Instance Of(const std::string& id, const std::string& version, bool passing = true) {
  consul::Instance instance{.node = "node-1", .id = id, .passing = passing};
  if (!version.empty()) instance.meta["version"] = version;
  return instance;
}

TEST(KeptOutOf, CountsPassingInstancesOutsideThePrimarySubsetByVersion) {
  const std::vector<consul::Instance> primary{Of("a", "v1"), Of("b", "v1")};
  std::vector<consul::Instance> all = primary;
  for (const auto& other :
       {Of("c", "v2"), Of("d", "v3"), Of("e", "v2"), Of("f", "v4", false), Of("g", "")}) {
    all.push_back(other);
  }
  const std::vector<KeptOut> expected{{"", 1, false}, {"v2", 2, true}, {"v3", 1, false}};
  EXPECT_EQ(KeptOutOf(Spec(), {"v0", "v2"}, all, primary), expected);
  EXPECT_TRUE(KeptOutOf(Spec(), {"v2"}, primary, primary).empty());
}

TEST(KeptOutOf, TellsInstancesOfOneNameOnTwoNodesApart) {
  consul::Instance elsewhere = Of("a", "v2");
  elsewhere.node = "node-2";
  EXPECT_EQ(KeptOutOf(Spec(), {}, {Of("a", "v1"), elsewhere}, {Of("a", "v1")}),
            (std::vector<KeptOut>{{"v2", 1, false}}));
}

TEST(ReadFlags, TakesEachThatIsKnownAndNoOther) {
  const std::vector<std::string> names{"release", "force"};
  EXPECT_TRUE(ReadFlags({}, names)->empty());
  EXPECT_EQ(ReadFlags({{"release", "true"}, {"force", "false"}}, names).value(),
            std::set<std::string>{"release"});
  EXPECT_EQ(ReadFlags({{"relase", "true"}}, names).error().message,
            "\"relase=true\" is not understood here; there is release=true, force=true");
  EXPECT_EQ(ReadFlags({{"force", "1"}}, names).error().code, base::ErrorCode::kInvalid);
}

}  // namespace
}  // namespace consul_canary::api
