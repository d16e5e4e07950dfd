// The shield on a real mesh: what callers see of a canary that fails every request, with and
// without it, and in every state between.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"
#include "tests/support/process.h"
#include "tests/support/real_parts.h"
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

  // For consul-canaryctl, from now on.
  void UseTokenWith(const std::string& name, const std::string& rules) {
    const ConsulAgent& consul = mesh_->consul();
    ASSERT_TRUE(consul.Put("/v1/acl/policy", json{{"Name", name}, {"Rules", rules}}.dump()));
    const auto token = consul.Put("/v1/acl/token", json{{"Policies", {{{"Name", name}}}}}.dump());
    ASSERT_TRUE(token) << token.error().message;
    setenv("CONSUL_HTTP_TOKEN", json::parse(*token)["SecretID"].get<std::string>().c_str(), 1);
  }

  void TearDown() override { unsetenv("CONSUL_HTTP_TOKEN"); }

  json Entry(const std::string& kind, const std::string& name) {
    const auto text = mesh_->consul().ReadEntry(kind, name);
    return text && *text ? json::parse(**text) : json();
  }

  // Without what each write changes.
  std::vector<json> AllEntries() {
    std::vector<json> entries = {Entry("service-defaults", "web"), Entry("service-resolver", "api"),
                                 Entry("service-router", "api")};
    for (json& entry : entries) entry.erase("ModifyIndex");
    return entries;
  }

  // Of requests that are sent from now on.
  double FailedShare(std::int64_t requests) {
    const LoadCounts before = load_->Counts();
    EXPECT_TRUE(load_->WaitForMore(requests, seconds(120)));
    const LoadCounts after = load_->Counts();
    return static_cast<double>(after.failed - before.failed) /
           static_cast<double>(after.completed - before.completed);
  }

  // Five standard deviations of 1000 requests at one half are 8%.
  double FailedShareBelow(double bound) {
    const double failed = FailedShare(1000);
    EXPECT_LT(failed, bound);
    return failed;
  }

  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Load> load_;
};

bool Says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

constexpr const char* kUsersDefaults = R"({"Kind": "service-defaults", "Name": "web",
    "Meta": {"team": "a"}, "Protocol": "http", "UpstreamConfig": {"Overrides": [{"Name": "api",
    "ConnectTimeoutMs": 4000, "PassiveHealthCheck": {"Interval": "10s", "MaxFailures": 50}}]}})";
constexpr const char* kUsersRouter = R"({"Kind": "service-router", "Name": "api", "Routes": [
    {"Match": {"HTTP": {"PathPrefix": "/admin"}},
     "Destination": {"NumRetries": 1, "RetryOnStatusCodes": [429]}}]})";

MeshOptions HalfToCanary() {
  return {.versions = {"v1", "v2"}, .canary_version = "v2", .canary_weight = 50};
}

TEST_F(ShieldTest, ACanaryThatFailsEveryRequestCostsNextToNone) {
  ASSERT_NO_FATAL_FAILURE(Begin(HalfToCanary()));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=1"));
  const double without = FailedShare(1000);
  EXPECT_GT(without, 0.4);

  const CtlResult waits = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(waits.code, 1);
  EXPECT_TRUE(Says(waits.output, "while the splitter gives the canary 50%")) << waits.output;
  const CtlResult applied = Ctl({"shield", "api", "--apply", "--now"});
  ASSERT_EQ(applied.code, 0) << applied.output;
  EXPECT_TRUE(Says(applied.output, "service-resolver/api: written")) << applied.output;
  EXPECT_TRUE(WaitUntil([&] { return FailedShare(200) < 0.02; }, seconds(30)));
  const double with = FailedShare(3000);
  std::cout << "failed: " << 100 * without << "% without, " << 100 * with << "% with" << std::endl;
  EXPECT_LT(with, without / 20);

  EXPECT_EQ(Ctl({"shield", "api", "--apply"}).output, "api: nothing to write\n");
  const CtlResult checked = Ctl({"check", "api", "-o", "json"});
  EXPECT_EQ(checked.code, 0) << checked.output;
  const CtlResult removed = Ctl({"shield", "api", "--remove"});
  EXPECT_EQ(removed.code, 0) << removed.output;
  EXPECT_TRUE(WaitUntil([&] { return FailedShare(200) > 0.4; }, seconds(30)));
}

// Written one after the other as the command does, but with time for each state to show, and a
// primary that has errors of its own.
TEST_F(ShieldTest, NoStateOnTheWayIsWorseThanNone) {
  ASSERT_NO_FATAL_FAILURE(Begin(HalfToCanary()));
  ASSERT_TRUE(mesh_->Control("v1", "failure_ratio=0.02"));
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=1"));
  const double none = FailedShare(1000);
  const json resolver = Entry("service-resolver", "api");
  const CtlResult printed = Ctl({"shield", "api", "-o", "json"});
  ASSERT_EQ(printed.code, 0) << printed.output;
  const json plan = json::parse(printed.output);
  ASSERT_EQ(plan["entries"].size(), 3U);
  std::string states = fmt::format("none {:.1f}%", 100 * none);
  for (const json& entry : plan["entries"]) {
    ASSERT_TRUE(mesh_->consul().WriteEntry(entry["entry"].dump())) << entry.dump();
    states += fmt::format(", {} {:.1f}%", entry["kind"].get<std::string>(),
                          100 * FailedShareBelow(none + 0.08));
  }
  // And the other way round; without the router nothing is retried, and so on.
  ASSERT_TRUE(mesh_->consul().Delete("/v1/config/service-router/api"));
  states += fmt::format(", without router {:.1f}%", 100 * FailedShareBelow(none + 0.08));
  ASSERT_TRUE(mesh_->consul().WriteEntry(resolver.dump()));
  states += fmt::format(", without failover {:.1f}%", 100 * FailedShareBelow(none + 0.08));
  ASSERT_TRUE(mesh_->consul().Delete("/v1/config/service-defaults/web"));
  states += fmt::format(", without all {:.1f}%", 100 * FailedShareBelow(none + 0.08));
  std::cout << states << std::endl;
}

TEST_F(ShieldTest, TakenOutWhileAHealthyCanaryServesItCostsNoRequest) {
  ASSERT_NO_FATAL_FAILURE(Begin({.versions = {"v1", "v2"}, .canary_version = "v2"}));
  ASSERT_EQ(Ctl({"shield", "api", "--apply"}).code, 0);
  ASSERT_TRUE(mesh_->WriteSplitter(50));
  ASSERT_TRUE(WaitUntil([&] { return load_->Counts().by_version.contains("v2"); }, seconds(20)));
  const std::int64_t failed = load_->Counts().failed;
  EXPECT_EQ(Ctl({"shield", "api", "--remove"}).code, 0);
  EXPECT_TRUE(load_->WaitForMore(400, seconds(30)));
  EXPECT_EQ(load_->Counts().failed, failed) << ::testing::PrintToString(load_->Counts().by_status);
}

TEST_F(ShieldTest, PutInAndTakenOutBetweenRolloutsCostsNoRequest) {
  ASSERT_NO_FATAL_FAILURE(Begin({.versions = {"v1", "v2"}, .canary_version = "v2"}));
  ASSERT_TRUE(mesh_->consul().WriteEntry(kUsersDefaults));
  ASSERT_TRUE(mesh_->consul().WriteEntry(kUsersRouter));
  ASSERT_TRUE(load_->WaitForMore(100, seconds(20)));
  const std::vector<json> before = AllEntries();
  EXPECT_EQ(Ctl({"check", "api"}).code, 1);
  const std::int64_t failed = load_->Counts().failed;
  for (int round = 0; round < 2; ++round) {
    const CtlResult applied = Ctl({"shield", "api", "--apply"});
    EXPECT_EQ(applied.code, 0) << applied.output;
    EXPECT_NE(AllEntries(), before);
    EXPECT_TRUE(load_->WaitForMore(300, seconds(20)));
    const CtlResult checked = Ctl({"check", "api"});
    EXPECT_EQ(checked.code, 0) << checked.output;
    if (round == 0) std::cout << checked.output << std::endl;  // as docs/cli.md shows it
    const CtlResult removed = Ctl({"shield", "api", "--remove"});
    EXPECT_EQ(removed.code, 0) << removed.output;
    EXPECT_TRUE(load_->WaitForMore(300, seconds(20)));
    EXPECT_EQ(AllEntries(), before);
  }
  EXPECT_EQ(load_->Counts().failed, failed) << ::testing::PrintToString(load_->Counts().by_status);
}

// As docs/shield.md has the rules, but for one.
TEST_F(ShieldTest, ARuleThatTheTokenLacksIsNamedAndNothingIsHalfDone) {
  MeshOptions options;
  options.consul.token = "8a4f2f8e-0000-4000-8000-000000000008";
  ASSERT_NO_FATAL_FAILURE(Begin(options));
  const std::string readers = R"(service_prefix "" { policy = "read" }
      node_prefix "" { policy = "read" }
      service "api" { policy = "write" })";
  UseTokenWith("reader", readers);
  const CtlResult checked = Ctl({"check", "api"});
  EXPECT_EQ(checked.code, 1) << checked.output;
  EXPECT_TRUE(Says(checked.output, "the token may not write the entries of web")) << checked.output;
  const CtlResult refused = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(Says(refused.output, R"(service "web" { policy = "write" })")) << refused.output;
  EXPECT_TRUE(Entry("service-router", "api").is_null());
  UseTokenWith("writer", readers + " service \"web\" { policy = \"write\" }");
  const CtlResult applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.code, 0) << applied.output;
  EXPECT_EQ(Ctl({"check", "api"}).code, 0);
  EXPECT_EQ(Ctl({"shield", "api", "--remove"}).code, 0);
}

TEST_F(ShieldTest, WhatIsPrintedIsWhatConsulsOwnToolTakes) {
  ASSERT_NO_FATAL_FAILURE(Begin(HalfToCanary()));
  const CtlResult printed = Ctl({"shield", "api"});
  ASSERT_EQ(printed.code, 0) << printed.output;
  const auto consul = FindPart("consul");
  ASSERT_TRUE(consul);
  std::string rest = printed.output;
  for (int entry = 0; entry < 3; ++entry) {
    const std::size_t end = std::min(rest.find("\n\n"), rest.size());
    const auto file = mesh_->consul().folder().Write("entry.hcl", rest.substr(0, end));
    auto write = Process::Start({.argv = {*consul, "config", "write", file.string()},
                                 .output = mesh_->consul().folder().path() / "write.log"});
    ASSERT_TRUE(write);
    EXPECT_EQ((*write)->Wait(seconds(20)), 0) << rest << (*write)->OutputTail();
    rest.erase(0, std::min(end + 2, rest.size()));
  }
  const CtlResult applied = Ctl({"shield", "api", "--apply"});
  EXPECT_EQ(applied.output, "api: nothing to write\n") << "all is there, and not the command's";
  EXPECT_EQ(Ctl({"shield", "api", "--remove"}).output, "api: nothing to write\n");
  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=1"));
  EXPECT_TRUE(WaitUntil([&] { return FailedShare(200) < 0.02; }, seconds(30)));
}

}  // namespace
}  // namespace consul_canary::testing
