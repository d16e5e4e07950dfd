// Entries that consul-k8s owns, by the Meta that it leaves: nothing of ours is ever written there,
// and what that keeps from happening is said.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/e2e/rollout_mesh.h"

namespace consul_canary::testing {
namespace {

constexpr const char* kOwnerMeta = "consul.hashicorp.com/source-datacenter";

bool Says(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

class Ownership : public RolloutTest {
 protected:
  [[nodiscard]] json Entry(const std::string& kind) {
    const auto text = mesh_->consul().ReadEntry(kind, "api");
    return text && *text ? json::parse(**text) : json::object();
  }

  void Write(const json& entry) {
    const auto written = mesh_->consul().WriteEntry(entry.dump());
    EXPECT_TRUE(written) << written.error().message;
  }

  // As consul-k8s does where a custom resource takes over what is there (migrate-entry).
  void Own(const std::string& kind) {
    json entry = Entry(kind);
    entry["Meta"][kOwnerMeta] = "dc1";
    entry["Meta"]["external-source"] = "kubernetes";
    Write(entry);
  }

  void LetGo(const std::string& kind) {
    json entry = Entry(kind);
    entry["Meta"].erase(kOwnerMeta);
    Write(entry);
  }

  [[nodiscard]] std::uint64_t IndexOf(const std::string& kind) {
    return Entry(kind).value("ModifyIndex", std::uint64_t{0});
  }

  [[nodiscard]] bool HasDecided(const std::string& action, const std::string& cause) {
    for (const json& decision : Decisions()) {
      if (decision["action"] == action && decision["cause"] == cause) return true;
    }
    return false;
  }
};

TEST_F(Ownership, KeepsARolloutFromBeingAppliedAndStarted) {
  Begin();
  Own("service-splitter");
  const CtlResult refused = Ctl({"apply", "-f", SpecFile(kSpec)});
  EXPECT_NE(refused.code, 0);
  EXPECT_TRUE(Says(refused.output,
                   "the service-splitter \"api\" is owned by Kubernetes: the "
                   "ServiceSplitter custom resource \"api\" in the cluster of "
                   "datacenter \"dc1\""))
      << refused.output;
  EXPECT_TRUE(Says(refused.output, "Set `act: false`")) << refused.output;
  LetGo("service-splitter");
  ApplySpec();

  Own("service-resolver");
  const std::uint64_t splitter = IndexOf("service-splitter");
  const std::uint64_t resolver = IndexOf("service-resolver");
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  const auto waits = [&] { return Ctl({"get", "api"}).output; };
  EXPECT_TRUE(WaitUntil(
      [&] { return Says(waits(), "the service-resolver \"api\" is owned by Kubernetes"); },
      seconds(15)))
      << waits();
  EXPECT_EQ(Phase(), "idle");

  const CtlResult kept = Ctl({"delete", "api", "--release"});
  EXPECT_NE(kept.code, 0);
  EXPECT_TRUE(Says(kept.output, "not deleted: the service-resolver \"api\" is owned by Kubernetes"))
      << kept.output;
  EXPECT_EQ(Phase(), "idle");
  EXPECT_EQ(IndexOf("service-splitter"), splitter);
  EXPECT_EQ(IndexOf("service-resolver"), resolver);

  LetGo("service-resolver");
  EXPECT_TRUE(WaitForPhase("progressing"));
}

TEST_F(Ownership, OfTheResolverKeepsTheSplitterFromBeingCreated) {
  Begin();
  Own("service-resolver");
  ASSERT_TRUE(mesh_->consul().Delete("/v1/config/service-splitter/api"));
  const CtlResult refused = Ctl({"apply", "--create", "-f", SpecFile(kSpec)});
  EXPECT_NE(refused.code, 0);
  EXPECT_TRUE(Says(refused.output, "the service-resolver \"api\" is owned by Kubernetes"))
      << refused.output;
  EXPECT_TRUE(Entry("service-splitter").empty());
}

TEST_F(Ownership, ThatComesInTheMiddleHoldsAndALossOfTheWayBackIsSaidLoudly) {
  Begin();
  ApplySpec("service: api\nstrategy: {steps: [{weight: 50, min_duration: 10m}], warmup: 1s}\n");
  ASSERT_TRUE(mesh_->AddInstance("v2"));
  ASSERT_TRUE(WaitForStep(1));
  Own("service-splitter");
  EXPECT_TRUE(WaitUntil([&] { return HasDecided("hold", "owned"); }, seconds(10)));
  const std::uint64_t index = IndexOf("service-splitter");

  ASSERT_TRUE(mesh_->Control("v2", "failure_ratio=1"));
  ASSERT_TRUE(WaitForPhase("rolling-back"));
  const auto log = [&] { return ReadFile(analyzer_->process().output()); };
  EXPECT_TRUE(WaitUntil([&] { return Says(log(), "result=owned"); }, seconds(10)));
  const std::string text = log();
  const std::size_t at = text.find("result=owned");
  const std::string line = text.substr(text.rfind('\n', at) + 1);
  EXPECT_TRUE(Says(line.substr(0, line.find('\n')), "level=error")) << line;
  const std::string shown = Ctl({"get", "api"}).output;
  EXPECT_TRUE(Says(shown, "set the canary's weight to 0 in the custom resource by hand, now"))
      << shown;
  const auto page = mesh_->consul().http().Get(analyzer_->address() + "/metrics");
  ASSERT_TRUE(page);
  EXPECT_FALSE(Says(*page, "consul_canary_splitter_writes_total{result=\"owned\"} 0"));
  EXPECT_EQ(IndexOf("service-splitter"), index);

  json entry = Entry("service-splitter");  // a person edits the custom resource
  for (json& split : entry["Splits"]) {
    split["Weight"] = split["ServiceSubset"] == "primary" ? 100 : 0;
  }
  Write(entry);
  EXPECT_TRUE(WaitForPhase("rolled-back"));
}

}  // namespace
}  // namespace consul_canary::testing
