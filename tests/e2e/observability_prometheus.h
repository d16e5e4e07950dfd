// Questions to a real Prometheus: how many series an expression has.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "exporter/base/io_loop.h"
#include "tests/support/http.h"

namespace consul_canary::testing {

using nlohmann::json;

inline json Parsed(const base::Result<std::string>& body) {
  return body ? json::parse(*body, nullptr, false) : json();
}

inline double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class Prometheus {
 public:
  Prometheus(const Http& http, std::string address) : http_(http), address_(std::move(address)) {}

  // Series with at least one number among their values; nothing when the expression is refused.
  [[nodiscard]] std::optional<int> CountSeries(const std::string& promql) const {
    return Count(Parsed(http_.Get(address_ + "/api/v1/query?query=" + base::UrlEncode(promql))));
  }
  // Up to now, and now included: a whole number of steps back from it.
  [[nodiscard]] std::optional<int> CountSeriesSince(double since, const std::string& promql) const {
    const double now = WallSeconds();
    return Count(Parsed(http_.Get(
        fmt::format("{}/api/v1/query_range?start={:.3f}&end={:.3f}&step=1&query={}", address_,
                    now - std::floor(now - since), now, base::UrlEncode(promql)))));
  }

 private:
  static bool IsNumber(const json& point) {
    return std::isfinite(std::strtod(point.at(1).get<std::string>().c_str(), nullptr));
  }

  static std::optional<int> Count(const json& answer) {
    if (!answer.is_object() || answer.at("status") != "success") return std::nullopt;
    const json& data = answer.at("data");
    if (data.at("resultType") == "scalar") return 1;
    int count = 0;
    for (const json& series : data.at("result")) {
      const json points = series.contains("values") ? series["values"] : json{series.at("value")};
      count += std::any_of(points.begin(), points.end(), IsNumber) ? 1 : 0;
    }
    return count;
  }

  const Http& http_;
  std::string address_;
};

}  // namespace consul_canary::testing
