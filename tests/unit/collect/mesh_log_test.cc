#include "exporter/collect/mesh_log.h"

#include <gtest/gtest.h>

#include <functional>

namespace consul_canary::collect {
namespace {

// How often `words` stand in what is logged meanwhile.
std::size_t Logged(const std::string& words, const std::function<void()>& action) {
  ::testing::internal::CaptureStderr();
  action();
  const std::string log = ::testing::internal::GetCapturedStderr();
  std::size_t count = 0;
  for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) {
    ++count;
  }
  return count;
}

MeshSnapshot Failing(base::ErrorCode code, const std::string& message) {
  MeshSnapshot snapshot;
  snapshot.consul_failures["service-splitter"] = {code, message};
  return snapshot;
}

TEST(MeshLog, SaysOnceThatAQuestionFailsAndOnceThatItIsAnsweredAgain) {
  MeshLog log;
  const MeshSnapshot failing = Failing(base::ErrorCode::kUnavailable, "GET: 503 down");
  EXPECT_EQ(
      Logged("question=service-splitter error=\"GET: 503 down\"", [&] { log.Observe(failing); }),
      1U);
  // The same reason in other words is no news, another reason is.
  EXPECT_EQ(Logged("service-splitter",
                   [&] {
                     log.Observe(failing);
                     log.Observe(Failing(base::ErrorCode::kUnavailable, "GET: 500 down"));
                   }),
            0U);
  EXPECT_EQ(Logged("GET: 403",
                   [&] {
                     log.Observe(Failing(base::ErrorCode::kForbidden, "GET: 403"));
                     log.Observe(Failing(base::ErrorCode::kForbidden, "GET: 403"));
                   }),
            1U);
  EXPECT_EQ(Logged("Consul answers again",
                   [&] {
                     log.Observe(MeshSnapshot());
                     log.Observe(MeshSnapshot());
                   }),
            1U);
}

}  // namespace
}  // namespace consul_canary::collect
