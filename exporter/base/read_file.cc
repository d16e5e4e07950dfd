#include "exporter/base/read_file.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

namespace consul_canary::base {
namespace {

constexpr std::size_t kChunkBytes = 16384;

tl::unexpected<Error> CannotRead(const std::string& path) {
  return Fail(ErrorCode::kUnavailable,
              fmt::format("{}: cannot be read: {}", path, std::generic_category().message(errno)));
}

}  // namespace

// By read(): a folder can be opened like a file, and other ways to read it throw or find it empty.
Result<std::string> ReadWholeFile(const std::string& path, std::size_t max_bytes) {
  std::error_code error;
  if (std::filesystem::is_fifo(path, error)) {  // opening it would wait for a writer
    return Fail(ErrorCode::kUnavailable, path + ": cannot be read: it is a pipe");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return CannotRead(path);
  std::string text;
  std::array<char, kChunkBytes> chunk{};
  while (file) {
    file.read(chunk.data(), chunk.size());
    if (file.bad()) return CannotRead(path);
    text += std::string_view(chunk.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > max_bytes) {
      return Fail(ErrorCode::kInvalid, fmt::format("{}: is larger than {} bytes", path, max_bytes));
    }
  }
  return text;
}

}  // namespace consul_canary::base
