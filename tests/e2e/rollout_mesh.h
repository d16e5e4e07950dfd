// A real mesh with a load, a real analyzer that rules it, and what its users see of that.
#pragma once

#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/load.h"
#include "tests/support/mesh.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {

using nlohmann::json;

// Quick, but judged by the same rules: short warm-up, two steps, the default margin and error
// rates.
inline constexpr const char* kSpec = R"(
service: api
strategy:
  steps: [{weight: 25}, {weight: 50}]
  warmup: 1s
)";

class RolloutTest : public ::testing::Test {
 protected:
  void Begin(MeshOptions options = {}, double rate = 200, std::vector<std::string> flags = {}) {
    auto mesh = Mesh::Start(std::move(options));
    ASSERT_TRUE(mesh) << mesh.error().message;
    mesh_ = std::move(*mesh);
    auto analyzer = StartAnalyzer(mesh_->consul(), std::move(flags));
    ASSERT_TRUE(analyzer) << analyzer.error().message;
    analyzer_ = std::move(*analyzer);
    load_ = std::make_unique<Load>(LoadOptions{.url = mesh_->url(), .rate = rate});
    // The primary's own failure ratio is known before anything is compared with it.
    ASSERT_TRUE(load_->WaitForMore(static_cast<std::int64_t>(3 * rate), seconds(20)));
  }

  void TearDown() override {
    if (!HasFailure() || !analyzer_) return;
    std::cout << "analyzer's log:\n"
              << ReadFile(mesh_->consul().folder().path() / "analyzer.log") << std::endl;
  }

  CtlResult Ctl(std::vector<std::string> arguments, milliseconds limit = seconds(20)) {
    auto result = RunCtl(analyzer_->address(), std::move(arguments), limit);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : CtlResult{};
  }

  std::string SpecFile(const std::string& text) {
    return mesh_->consul().folder().Write("spec.yaml", text).string();
  }

  void ApplySpec(const std::string& text = kSpec) {
    const CtlResult applied = Ctl({"apply", "-f", SpecFile(text)});
    ASSERT_EQ(applied.code, 0) << applied.output;
  }

  json Rollout() {
    const CtlResult got = Ctl({"get", "api", "-o", "json"});
    const json rollout = json::parse(got.output, nullptr, false);
    return rollout.is_object() ? rollout : json::object();
  }

  std::vector<json> Decisions() {
    const CtlResult got = Ctl({"history", "api", "-o", "json"});
    const json answer = json::parse(got.output, nullptr, false);
    return answer.is_object() ? answer["decisions"].get<std::vector<json>>() : std::vector<json>{};
  }

  std::string Phase() { return Rollout().value("phase", ""); }

  bool WaitForPhase(const std::string& phase, milliseconds limit = seconds(60)) {
    const bool reached = WaitUntil([&] { return Phase() == phase; }, limit, milliseconds(100));
    if (!reached) ADD_FAILURE() << "not " << phase << ": " << Rollout().dump();
    return reached;
  }

  bool WaitForStep(int step, milliseconds limit = seconds(60)) {
    const auto there = [&] {
      const json rollout = Rollout();
      return rollout.value("step", 0) == step && rollout["observed_weight"] == rollout["weight"];
    };
    const bool reached = WaitUntil(there, limit, milliseconds(100));
    if (!reached) ADD_FAILURE() << "not at step " << step << ": " << Rollout().dump();
    return reached;
  }

  double CanaryWeight() { return mesh_->Weights()["canary"]; }

  // Every decision has its number, none is missing or twice.
  void ExpectWholeLog(const std::vector<json>& decisions) {
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      EXPECT_EQ(decisions[i].value("sequence", 0), static_cast<int>(i) + 1);
    }
  }

  // "step/weight" of each advance, in order.
  static std::vector<std::string> Advances(const std::vector<json>& decisions) {
    std::vector<std::string> advances;
    for (const json& decision : decisions) {
      if (decision["action"] != "advance") continue;
      advances.push_back(std::to_string(decision["step"].get<int>()) + "/" +
                         std::to_string(decision["weight"].get<int>()));
    }
    return advances;
  }

  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Daemon> analyzer_;
  std::unique_ptr<Load> load_;
};

}  // namespace consul_canary::testing
