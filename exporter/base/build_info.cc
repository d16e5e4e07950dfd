#include "exporter/base/build_info.h"

#include <fmt/format.h>

namespace consul_canary::base {
namespace {

#if defined(__clang__)
constexpr std::string_view kCompiler = "clang " __clang_version__;
#else
constexpr std::string_view kCompiler = "gcc " __VERSION__;
#endif

constexpr BuildInfo kBuild{CONSUL_CANARY_VERSION, CONSUL_CANARY_REVISION, CONSUL_CANARY_BRANCH,
                           kCompiler};

}  // namespace

const BuildInfo& Build() { return kBuild; }

std::string VersionLine(std::string_view program) {
  return fmt::format("{}, version {} (branch: {}, revision: {})\n  built with {}", program,
                     kBuild.version, kBuild.branch, kBuild.revision, kBuild.compiler);
}

}  // namespace consul_canary::base
