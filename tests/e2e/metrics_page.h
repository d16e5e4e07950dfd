// A page of metrics as a daemon serves it, and what promtool says about it.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "exporter/envoy/prometheus_text.h"
#include "tests/support/process.h"
#include "tests/support/real_parts.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wait.h"

namespace consul_canary::testing {

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

class Page {
 public:
  explicit Page(std::string text) : text_(std::move(text)) {}

  // Sum of the series that have these labels; nullopt when there is none.
  [[nodiscard]] std::optional<double> Sum(std::string_view name, Labels labels) const {
    std::optional<double> sum;
    envoy::ParsePrometheusText(
        text_,
        [&](const envoy::Sample& sample) {
          if (sample.name != name) return;
          for (const auto& [label, value] : labels) {
            if (sample.Find(label) != value) return;
          }
          sum = sum.value_or(0) + sample.value;
        },
        [](const envoy::BadLine& bad) { ADD_FAILURE() << bad.line << ": " << bad.reason; });
    return sum;
  }

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Leaves its files in `folder`.
inline void ExpectNothingToSayForPromtool(const Page& page, TempDir& folder) {
  const auto promtool = FindPart("promtool");
  ASSERT_TRUE(promtool) << promtool.error().message;
  const std::string file = folder.Write("metrics.txt", page.text()).string();
  const auto lint =
      Process::Start({.argv = {"sh", "-c", "exec \"$0\" check metrics < \"$1\"", *promtool, file},
                      .output = folder.path() / "promtool.log"});
  ASSERT_TRUE(lint) << lint.error().message;
  EXPECT_EQ((*lint)->Wait(seconds(20)), 0) << (*lint)->OutputTail();
  EXPECT_EQ((*lint)->OutputTail(), "");
}

}  // namespace consul_canary::testing
