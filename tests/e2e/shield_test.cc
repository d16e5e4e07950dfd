// The shield on a real mesh: what callers see of a canary that fails every request, with and
// without it, and in every state between.
#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {
namespace {

using nlohmann::json;

constexpr double kRate = 200;

class ShieldTest : public ::testing::Test {
 protected:
  void Begin(MeshOptions options) {
    auto mesh = Mesh::Start(std::move(options));
    ASSERT_TRUE(mesh) << mesh.error().message;
    mesh_ = std::move(*mesh);
    for (const auto& [name, value] : mesh_->consul().Environment()) {
      setenv(name.c_str(), value.c_str(), 1);  // for consul-canaryctl
    }
    load_ = std::make_unique<Load>(LoadOptions{.url = mesh_->url(), .rate = kRate});
    ASSERT_TRUE(load_->WaitForMore(100, seconds(20)));
  }

  CtlResult Ctl(std::vector<std::string> arguments) {
    auto result = RunCtl("http://127.0.0.1:1", std::move(arguments));
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : CtlResult{};
  }

  json Entry(const std::string& kind, const std::string& name) {
    const auto text = mesh_->consul().ReadEntry(kind, name);
    return text && *text ? json::parse(**text) : json();
  }

  // Of requests that are sent from now on.
  double FailedShare(std::int64_t requests) {
    const LoadCounts before = load_->Counts();
    EXPECT_TRUE(load_->WaitForMore(requests, seconds(120)));
    const LoadCounts after = load_->Counts();
    return static_cast<double>(after.failed - before.failed) /
           static_cast<double>(after.completed - before.completed);
  }

  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Load> load_;
};

MeshOptions HalfToCanary() {
  return {.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 50};
}

TEST_F(ShieldTest, ACanaryThatFailsEveryRequestCostsNextToNone) {
  ASSERT_NO_FATAL_FAILURE(Begin(HalfToCanary()));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=1"));
  const double without = FailedShare(1000);
  EXPECT_GT(without, 0.4);
  const CtlResult applied = Ctl({"shield", "api", "--apply"});
  ASSERT_EQ(applied.code, 0) << applied.output;
  std::cout << applied.output;
  std::cout << Entry("service-defaults", "web").dump() << "\n"
            << Entry("service-resolver", "api").dump() << "\n"
            << Entry("service-router", "api").dump() << std::endl;
  EXPECT_TRUE(WaitUntil([&] { return FailedShare(200) < 0.02; }, seconds(20)));
  const double with = FailedShare(3000);
  std::cout << "failed: " << 100 * without << "% without, " << 100 * with << "% with" << std::endl;
  EXPECT_LT(with, 0.01);
  const CtlResult again = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(again.output, "api: nothing to write\n");
  const CtlResult removed = Ctl({"shield", "api", "--remove"});
  EXPECT_EQ(removed.code, 0) << removed.output;
  std::cout << removed.output;
  EXPECT_TRUE(Entry("service-defaults", "web").is_null()) << Entry("service-defaults", "web");
  EXPECT_TRUE(Entry("service-router", "api").is_null()) << Entry("service-router", "api");
  EXPECT_TRUE(WaitUntil([&] { return FailedShare(200) > 0.4; }, seconds(20)));
}

// Written one after the other, as the command does, but with time for each state to show.
TEST_F(ShieldTest, NoStateOnTheWayIsWorseThanNone) {
  ASSERT_NO_FATAL_FAILURE(Begin(HalfToCanary()));
  ASSERT_TRUE(mesh_->Control("v1", "failure_ratio=0.02"));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=1"));
  const double none = FailedShare(1000);
  const CtlResult printed = Ctl({"shield", "api", "-o", "json"});
  ASSERT_EQ(printed.code, 0) << printed.output;
  const json plan = json::parse(printed.output);
  std::string states = std::to_string(none);
  ASSERT_EQ(plan["entries"].size(), 3U);
  for (const json& entry : plan["entries"]) {
    ASSERT_TRUE(mesh_->consul().WriteEntry(entry["entry"].dump())) << entry.dump();
    const double failed = FailedShare(1500);
    states += " " + entry["kind"].get<std::string>() + ": " + std::to_string(failed);
    // Five standard deviations of 1000 requests at one half are 8%.
    EXPECT_LT(failed, none + 0.08) << states;
  }
  std::cout << states << std::endl;
  EXPECT_LT(FailedShare(2000), 0.01);
}

TEST_F(ShieldTest, PutInAndTakenOutUnderLoadCostsAHealthyMeshNoRequest) {
  ASSERT_NO_FATAL_FAILURE(Begin(HalfToCanary()));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Ctl({"shield", "api", "--apply"}).code, 0);
    EXPECT_TRUE(load_->WaitForMore(300, seconds(20)));
    EXPECT_EQ(Ctl({"shield", "api", "--remove"}).code, 0);
    EXPECT_TRUE(load_->WaitForMore(300, seconds(20)));
  }
  const LoadCounts counts = load_->Counts();
  EXPECT_EQ(counts.failed, 0) << ::testing::PrintToString(counts.by_status);
}

}  // namespace
}  // namespace consul_canary::testing
