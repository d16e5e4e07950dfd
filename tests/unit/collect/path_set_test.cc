#include "exporter/collect/path_set.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>

#include "tests/unit/collect/fake_mesh.h"

namespace consul_canary::collect {
namespace {

using base::milliseconds;

// A body as it is; "nonsense" is refused.
base::Result<PathValue> ReadBody(std::string_view /*path*/, std::string_view body) {
  if (body == "nonsense") return base::Fail(base::ErrorCode::kInvalid, "is nonsense");
  return std::vector<std::string>{std::string(body)};
}

// A path set on its own loop; answers are counted by path.
class PathSetTest : public ::testing::Test {
 protected:
  void Create(PathSetOptions options) {
    consul::Settings settings;
    settings.address = consul_.address();
    io_.loop().Post([this, settings, options] {
      client_ = std::make_unique<consul::Client>(io_.loop(), settings);
      set_ = std::make_unique<PathSet>(
          *client_, options, &ReadBody,
          [this](const std::string& path, base::Result<PathValue> answer) {
            const std::lock_guard lock(mutex_);
            if (answer) {
              bodies_[path].push_back(std::get<std::vector<std::string>>(*answer).front());
            } else {
              errors_[path].push_back(answer.error());
            }
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

  void MarkAll() {
    io_.loop().Post([this] { set_->MarkAll(); });
  }

  void Mark(std::set<std::string> paths) {
    io_.loop().Post([this, paths = std::move(paths)] { set_->Mark(paths); });
  }

  [[nodiscard]] bool WaitForErrors(const std::string& path, std::size_t errors) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return errors_[path].size() >= errors; });
  }

  [[nodiscard]] std::size_t Count(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return bodies_[path].size();
  }

  [[nodiscard]] std::string Newest(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return bodies_[path].empty() ? "" : bodies_[path].back();
  }

  FakeConsul consul_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<std::string>> bodies_;
  std::map<std::string, std::vector<base::Error>> errors_;
  base::IoThread io_;
  std::unique_ptr<consul::Client> client_;
  std::unique_ptr<PathSet> set_;
};

TEST_F(PathSetTest, WatchesTheFirstAndReadsTheOthersOnceWithoutBlocking) {
  Create({.max_watches = 1, .min_interval = milliseconds(1)});
  Sync({"/v1/a", "/v1/b", "/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  ASSERT_TRUE(WaitFor("/v1/c", 1));
  EXPECT_EQ(consul_.Asked("/v1/b", true), 0);
  EXPECT_EQ(consul_.Asked("/v1/c", true), 0);
  EXPECT_EQ(consul_.Asked("/v1/a", false), 1);
}

TEST_F(PathSetTest, ReadsAgainWhatHasChangedAndNothingElse) {
  Create({.max_watches = 0});
  Sync({"/v1/a", "/v1/b", "/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  ASSERT_TRUE(WaitFor("/v1/c", 1));
  consul_.Set("/v1/b", "new");
  Mark({"/v1/b", "/v1/unknown"});
  ASSERT_TRUE(WaitFor("/v1/b", 2));
  EXPECT_EQ(Newest("/v1/b"), "new");
  EXPECT_EQ(consul_.Asked("/v1/a", false), 1);
  EXPECT_EQ(consul_.Asked("/v1/c", false), 1);
  EXPECT_EQ(consul_.Asked("/v1/unknown", false), 0);
}

TEST_F(PathSetTest, ReadsAllOnceWhenAnyMayHaveChangedWatchedOnesExcepted) {
  Create({.max_watches = 1, .min_interval = milliseconds(1)});
  Sync({"/v1/a", "/v1/b", "/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));  // its watch stands
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  ASSERT_TRUE(WaitFor("/v1/c", 1));
  MarkAll();
  ASSERT_TRUE(WaitFor("/v1/b", 2));
  ASSERT_TRUE(WaitFor("/v1/c", 2));
  EXPECT_EQ(consul_.Asked("/v1/a", false), 1);
}

TEST_F(PathSetTest, ReadsTheLastThoughAllAreMarkedAgainAndAgain) {
  Create({.max_watches = 0, .max_reads = 1, .near = 1});
  Sync({"/v1/a", "/v1/b", "/v1/c", "/v1/d"});
  for (const char* path : {"/v1/a", "/v1/b", "/v1/c", "/v1/d"}) ASSERT_TRUE(WaitFor(path, 1));
  // All are marked again as often as the nearest has been read again.
  std::size_t answers = 2;
  while (Count("/v1/d") < 2 && answers < 200) {
    MarkAll();
    ASSERT_TRUE(WaitFor("/v1/a", answers++));
  }
  EXPECT_GE(Count("/v1/d"), 2U);
}

TEST_F(PathSetTest, ReadsAllOnceInATurnThoughNoChangeIsAnnounced) {
  Create({.max_watches = 0, .turn = milliseconds(30)});
  Sync({"/v1/a", "/v1/b"});
  EXPECT_TRUE(WaitFor("/v1/a", 3));
  EXPECT_TRUE(WaitFor("/v1/b", 3));
}

TEST_F(PathSetTest, AsksAgainWhatFailedAndKeepsOthersGoing) {
  consul_.Set("/v1/a", "nonsense");
  Create(
      {.max_watches = 0, .first_back_off = milliseconds(1), .longest_back_off = milliseconds(20)});
  Sync({"/v1/a", "/v1/b"});
  ASSERT_TRUE(WaitForErrors("/v1/a", 3));
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  consul_.Set("/v1/a", "well");
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  EXPECT_EQ(errors_["/v1/a"][0].message, "GET /v1/a: is nonsense");
}

TEST_F(PathSetTest, TellsChangesOfAWatchedPathAtOnce) {
  Create({.max_watches = 1, .min_interval = milliseconds(1)});
  Sync({"/v1/a"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  consul_.Set("/v1/a", "new");
  ASSERT_TRUE(WaitFor("/v1/a", 2));
  EXPECT_EQ(Newest("/v1/a"), "new");
}

TEST_F(PathSetTest, ReadsNewPathsAtOnceHoweverLongOthersWait) {
  Create({.max_watches = 0, .read_gap = milliseconds(3600000)});
  Sync({"/v1/a", "/v1/b"});
  ASSERT_TRUE(WaitFor("/v1/a", 1));
  ASSERT_TRUE(WaitFor("/v1/b", 1));
  MarkAll();
  Sync({"/v1/a", "/v1/b", "/v1/c"});
  ASSERT_TRUE(WaitFor("/v1/c", 1));
  EXPECT_EQ(consul_.Asked("/v1/a", false), 1);
}

TEST_F(PathSetTest, WatchesAPathThatBecameImportant) {
  Create({.max_watches = 1, .min_interval = milliseconds(1)});
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
