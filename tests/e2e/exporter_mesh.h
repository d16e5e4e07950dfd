// A real mesh and the exporter that reads it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>

#include "tests/e2e/metrics_page.h"
#include "tests/support/daemons.h"
#include "tests/support/mesh.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {

class ExporterTest : public ::testing::Test {
 protected:
  void Begin(MeshOptions options) {
    const auto sidecars = static_cast<double>(options.versions.size()) + options.callers;
    auto mesh = Mesh::Start(std::move(options));
    ASSERT_TRUE(mesh) << mesh.error().message;
    mesh_ = std::move(*mesh);
    auto exporter = StartExporter(mesh_->consul());
    ASSERT_TRUE(exporter) << exporter.error().message;
    exporter_ = std::move(*exporter);
    ASSERT_TRUE(WaitFor([sidecars](const Page& page) {
      return page.Sum("consul_canary_sidecars", {{"state", "read"}}) == sidecars;
    }));
  }

  [[nodiscard]] Page Metrics() const {
    const auto text = mesh_->consul().http().Get(exporter_->address() + "/metrics");
    return Page(text.value_or(""));
  }

  [[nodiscard]] bool WaitFor(const std::function<bool(const Page&)>& condition) const {
    const bool met = WaitUntil([&] { return condition(Metrics()); }, seconds(15));
    if (!met) ADD_FAILURE() << Metrics().text();
    return met;
  }

  std::unique_ptr<Mesh> mesh_;
  std::unique_ptr<Daemon> exporter_;
};

}  // namespace consul_canary::testing
