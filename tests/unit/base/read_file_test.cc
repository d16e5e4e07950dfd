#include "exporter/base/read_file.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include "tests/support/temp_dir.h"

namespace consul_canary::base {
namespace {

constexpr std::size_t kMaxBytes = 100'000;

TEST(ReadWholeFile, ReadsEveryByte) {
  const testing::TempDir folder{"read-file"};
  for (const std::size_t size : {0u, 1u, 16384u, 16385u, 100'000u}) {
    std::string text(size, 'x');
    if (size > 1) text[size / 2] = '\0';
    const auto read = ReadWholeFile(folder.Write("file", text).string(), kMaxBytes);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, text);
  }
}

TEST(ReadWholeFile, RefusesALargeOneAndAnEndlessOne) {
  const testing::TempDir folder{"read-file"};
  const std::string path = folder.Write("large", std::string(kMaxBytes + 1, 'x')).string();
  for (const std::string& file : {path, std::string("/dev/zero")}) {
    const auto read = ReadWholeFile(file, kMaxBytes);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
    EXPECT_EQ(read.error().message, file + ": is larger than 100000 bytes");
  }
}

TEST(ReadWholeFile, SaysWhyItCannotBeRead) {
  const testing::TempDir folder{"read-file"};
  const std::string path = folder.path().string();
  const auto absent = ReadWholeFile(path + "/absent", kMaxBytes);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(absent.error().message, path + "/absent: cannot be read: No such file or directory");
  const auto directory = ReadWholeFile(path, kMaxBytes);
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(directory.error().message, path + ": cannot be read: Is a directory");
  const std::string pipe = path + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  const auto endless = ReadWholeFile(pipe, kMaxBytes);
  ASSERT_FALSE(endless);
  EXPECT_EQ(endless.error().message, pipe + ": cannot be read: it is a pipe");
}

}  // namespace
}  // namespace consul_canary::base
