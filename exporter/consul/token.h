// The ACL token, fixed or from a file that may be rotated while we run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "exporter/base/result.h"

namespace consul_canary::consul {

class Token {
 public:
  // An empty `file` means that `value` is used for ever; else the file wins.
  Token(std::string value, std::string file);

  // The token as of now; the file is read again where its time, size or inode has changed. A file
  // that has become unreadable or empty (a rotation under way) leaves the last token in use, which
  // the log says once; one that never was readable is kUnavailable and named.
  [[nodiscard]] base::Result<std::string> Current();

 private:
  struct Stamp {
    std::int64_t modified_seconds = 0;
    std::int64_t modified_nanoseconds = 0;
    std::int64_t size_bytes = -1;
    std::uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };

  // The last token, though the file cannot be read.
  [[nodiscard]] base::Result<std::string> Kept(std::string_view why);

  std::string value_;
  std::string file_;
  Stamp stamp_;
  std::string complaint_;  // that was logged; empty: the file was read
};

}  // namespace consul_canary::consul
