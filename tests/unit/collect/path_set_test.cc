#include "exporter/collect/path_set.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>

#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::collect {
namespace {

using base::milliseconds;

// A path set on its own loop; answers are counted by path.
class PathSetTest : public ::testing::Test {
 protected:
  void Create(PathSetOptions options) {
    consul::Settings settings;
    settings.address = consul_.address();
    io_.loop().Post([this, settings, options] {
      client_ = std::make_unique<consul::Client>(io_.loop(), settings);
      set_ = std::make_unique<PathSet>(
          *client_, options,
          [this](const std::string& path, base::Result<base::HttpResponse> answer) {
            const std::lock_guard lock(mutex_);
            if (answer) bodies_[path].push_back(answer->body);
            changed_.notify_all();
          });
    });
  }

  void TearDown() override {
    io_.Stop();
    set_.reset();
    client_.reset();
  }

  void Sync(std::vector<std::string> paths) {
    io_.loop().Post([this, paths = std::move(paths)] { set_->Sync(paths); });
  }

  [[nodiscard]] bool WaitFor(const std::string& path, std::size_t answers) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return bodies_[path].size() >= answers; });
  }

  [[nodiscard]] std::string Newest(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return bodies_[path].empty() ? "" : bodies_[path].back();
  }

  FakeConsul consul_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<std::string>> bodies_;
  base::IoThread io_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<PathSet> set_;
};

TEST_F(PathSetTest, WatchesTheFirstAndReadsTheOthersInTurn) {
  Create({.max_watches = 1, .min_interval = milliseconds(1), .turn = milliseconds(60)});
  Sync({"/v1/a", "/v1/b", "/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  ASSERT_TRUE(WaitFor("/v1/b", 3));
  ASSERT_TRUE(WaitFor("/v1/c", 3));
  EXPECT_EQ(consul_.Asked("/v1/b", true), 0);
  EXPECT_EQ(consul_.Asked("/v1/c", true), 0);
  EXPECT_EQ(consul_.Asked("/v1/a", false), 1);
}

TEST_F(PathSetTest, TellsChangesOfAWatchedPathAtOnce) {
  Create({.max_watches = 1, .min_interval = milliseconds(1), .turn = milliseconds(60000)});
  Sync({"/v1/a"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  consul_.Set("/v1/a", "new");
  ASSERT_TRUE(WaitFor("/v1/a", 2));
  EXPECT_EQ(Newest("/v1/a"), "new");
}

TEST_F(PathSetTest, ReadsNewPathsAtOnceHoweverLongATurnIs) {
  Create({.max_watches = 0, .min_interval = milliseconds(1), .turn = milliseconds(3600000)});
  Sync({"/v1/a", "/v1/b"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  Sync({"/v1/a", "/v1/b", "/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/c", 1));
}

TEST_F(PathSetTest, WatchesAPathThatBecameImportant) {
  Create({.max_watches = 1, .min_interval = milliseconds(1), .turn = milliseconds(3600000)});
  Sync({"/v1/a", "/v1/b"});
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  Sync({"/v1/b", "/v1/a"});
  ASSERT_TRUE(WaitFor("/v1/b", 2));
  consul_.Set("/v1/b", "new");
  ASSERT_TRUE(WaitFor("/v1/b", 3));
  EXPECT_EQ(Newest("/v1/b"), "new");
}

TEST_F(PathSetTest, ForgetsPathsThatAreNotWantedAnyMore) {
  Create({.max_watches = 1, .min_interval = milliseconds(1), .turn = milliseconds(20)});
  Sync({"/v1/a", "/v1/b"});
  ASSERT_TRUE(WaitFor("/v1/b", 2));
  Sync({"/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/c", 1));
  consul_.Set("/v1/a", "unseen");
  consul_.Set("/v1/c", "seen");
  ASSERT_TRUE(WaitFor("/v1/c", 2));
  EXPECT_NE(Newest("/v1/a"), "unseen");
}

}  // namespace
}  // namespace consul_canary::collect
