// The exporter's program on a real Consul agent, without sidecars: series that go with their
// service, static targets and their reload, another datacenter.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/daemons.h"
#include "tests/support/places.h"
#include "tests/support/wait.h"
#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::testing {
namespace {

std::unique_ptr<ConsulAgent> StartAgent(ConsulOptions options = {}) {
  auto agent = ConsulAgent::Start(std::move(options));
  EXPECT_TRUE(agent) << agent.error().message;
  return agent ? *std::move(agent) : nullptr;
}

void WriteService(const ConsulAgent& consul, const std::string& name) {
  for (const std::string& kind :
       {R"({"Kind":"service-defaults","Name":")" + name + R"(","Protocol":"http"})",
        R"({"Kind":"service-resolver","Name":")" + name +
            R"(","Subsets":{"primary":{"Filter":"Service.Meta.version == v1"},
                            "canary":{"Filter":"Service.Meta.version == v2"}}})",
        R"({"Kind":"service-splitter","Name":")" + name +
            R"(","Splits":[{"Weight":90,"ServiceSubset":"primary"},
                           {"Weight":10,"ServiceSubset":"canary"}]})"}) {
    const auto written = consul.WriteEntry(kind);
    ASSERT_TRUE(written) << written.error().message;
  }
}

class ExporterPages : public ::testing::Test {
 protected:
  void SetUp() override {
    consul_ = StartAgent();
    ASSERT_TRUE(consul_);
  }

  void Start(std::vector<std::string> flags = {}) {
    auto exporter = StartExporter(*consul_, std::move(flags));
    ASSERT_TRUE(exporter) << exporter.error().message;
    exporter_ = *std::move(exporter);
    ASSERT_TRUE(
        WaitUntil([this] { return consul_->http().Answers(exporter_->address() + "/-/ready"); },
                  seconds(30)));
  }

  std::string Page() { return consul_->http().Get(exporter_->address() + "/metrics").value_or(""); }

  bool Shows(const std::string& text) {
    return WaitUntil([&] { return Page().find(text) != std::string::npos; }, seconds(30));
  }

  bool Hides(const std::string& text) {
    return WaitUntil(
        [&] {
          const std::string page = Page();
          return !page.empty() && page.find(text) == std::string::npos;
        },
        seconds(30));
  }

  std::string WriteTargets(const std::string& text) {
    return consul_->folder().Write("targets.yaml", text).string();
  }

  std::unique_ptr<ConsulAgent> consul_;
  std::unique_ptr<Daemon> exporter_;
};

TEST_F(ExporterPages, AServiceThatGoesAwayTakesItsSeriesWithIt) {
  WriteService(*consul_, "api");
  WriteService(*consul_, "shop");
  collect::FakeSidecar sidecar;
  sidecar.SetPage(collect::CallerPage(90, 10));
  Start({"--targets.file=" + WriteTargets("targets:\n  - {address: '" + sidecar.address() +
                                          "', service: web, calls: [api]}\n")});
  ASSERT_TRUE(Shows("service_name=\"api\""));
  ASSERT_TRUE(Shows("service_name=\"shop\""));
  ASSERT_TRUE(consul_->Delete("/v1/config/service-splitter/api"));
  EXPECT_TRUE(Hides("service_name=\"api\""));
  EXPECT_TRUE(Shows("service_name=\"shop\""));
}

TEST_F(ExporterPages, StaticTargetsAreReadAnewOnReloadAndABadFileIsRefused) {
  WriteService(*consul_, "api");
  collect::FakeSidecar first;
  collect::FakeSidecar second;
  first.SetPage(collect::CallerPage(90, 10));
  second.SetPage(collect::CallerPage(90, 10));
  const auto target = [](const collect::FakeSidecar& sidecar) {
    return "  - {address: '" + sidecar.address() + "', service: web, calls: [api]}\n";
  };
  Start({"--targets.file=" + WriteTargets("targets:\n" + target(first))});
  ASSERT_TRUE(Shows("consul_canary_sidecars{state=\"read\"} 1\n"));

  WriteTargets("targets:\n" + target(first) + target(second));
  exporter_->process().Signal(SIGHUP);
  ASSERT_TRUE(Shows("consul_canary_sidecars{state=\"read\"} 2\n"));

  WriteTargets("targets:\n" + target(first) + "  - {address: nowhere, service: web}\n");
  const auto refused = consul_->http().Call("POST", exporter_->address() + "/-/reload");
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 400);
  EXPECT_NE(refused->body.find("targets.yaml: line 3: targets[1].address: must be an address"),
            std::string::npos)
      << refused->body;
  EXPECT_TRUE(Shows("consul_canary_sidecars{state=\"read\"} 2\n"));

  const std::filesystem::path file = consul_->folder().path() / "targets.yaml";
  std::filesystem::remove(file);
  const auto unreadable = consul_->http().Call("POST", exporter_->address() + "/-/reload");
  ASSERT_TRUE(unreadable);
  EXPECT_EQ(unreadable->status, 500);
  EXPECT_EQ(unreadable->body, file.string() + ": cannot be read: No such file or directory\n");

  WriteTargets("targets: []\n");
  const auto taken = consul_->http().Call("POST", exporter_->address() + "/-/reload");
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->status, 200);
  EXPECT_TRUE(Hides("consul_canary_sidecars{state=\"read\"} 2\n"));
}

TEST_F(ExporterPages, ABadFileOfTargetsEndsTheStartWithEveryFault) {
  Command command{.argv = {ExporterProgram(), "--web.listen-address=127.0.0.1:0",
                           "--targets.file=" + WriteTargets("targets:\n  - {address: x}\n")}};
  command.output = consul_->folder().path() / "bad.log";
  auto process = Process::Start(command);
  ASSERT_TRUE(process) << process.error().message;
  EXPECT_EQ((*process)->Wait(seconds(10)), 2);
  const std::string said = (*process)->OutputTail();
  EXPECT_NE(said.find("targets.yaml: line 2: targets[0].address: must be"), std::string::npos)
      << said;
  EXPECT_NE(said.find("targets.yaml: line 2: targets[0].service: is missing"), std::string::npos)
      << said;
}

TEST_F(ExporterPages, ShowsAnotherDatacenterOnRequest) {
  const std::unique_ptr<ConsulAgent> far = StartAgent({.datacenter = "dc2"});
  ASSERT_TRUE(far);
  ASSERT_TRUE(consul_->Put("/v1/agent/join/" + far->wan_address() + "?wan=true"));
  // Each datacenter is its own primary here, so each takes its own entries.
  WriteService(*far, "far");
  WriteService(*consul_, "near");
  ASSERT_TRUE(WaitUntil(
      [&] { return consul_->Get("/v1/config/service-splitter?dc=dc2").value_or("").size() > 10; },
      seconds(30)));
  Start({"--consul.datacenter=dc2"});
  EXPECT_TRUE(Shows("service_name=\"far\""));
  EXPECT_EQ(Page().find("service_name=\"near\""), std::string::npos);
  ASSERT_TRUE(far->Delete("/v1/config/service-splitter/far"));
  EXPECT_TRUE(Hides("service_name=\"far\""));
}

}  // namespace
}  // namespace consul_canary::testing
