// What real sidecars answered (Envoy 1.40.0 under Consul 1.16.3), trimmed to a few buckets.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

namespace consul_canary::envoy {

inline std::string Recorded(const std::string& name) {
  std::ifstream file(std::string(TEST_DATA) + "/" + name);
  EXPECT_TRUE(file.is_open()) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

}  // namespace consul_canary::envoy
