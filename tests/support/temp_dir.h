// A folder of its own below ${TMPDIR:-/tmp}, removed with all it holds when its owner ends.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace consul_canary::testing {

class TempDir {
 public:
  // Aborts the test program when no folder can be made: nothing could go on.
  explicit TempDir(std::string_view purpose = "test");
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  // Leaves the folder where it is, for a look at it after a failure.
  void Keep() { keep_ = true; }

  // Writes a file below the folder and returns its path.
  std::filesystem::path Write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
  bool keep_ = false;
};

// Whole content of a file; empty when it cannot be read.
[[nodiscard]] std::string ReadFile(const std::filesystem::path& path);

}  // namespace consul_canary::testing
