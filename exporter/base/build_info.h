// What this program was built from.
#pragma once

#include <string>
#include <string_view>

namespace consul_canary::base {

// All of them literals.
struct BuildInfo {
  std::string_view version;   // 0.1.0
  std::string_view revision;  // of git when the build was configured; "unknown" outside of it
  std::string_view branch;    // as revision
  std::string_view compiler;  // gcc 12.2.0
};
[[nodiscard]] const BuildInfo& Build();

// For --version: `consul-canary-exporter, version 0.1.0 (branch: main, revision: 9c0837312f0b)`.
[[nodiscard]] std::string VersionLine(std::string_view program);

}  // namespace consul_canary::base
