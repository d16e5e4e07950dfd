#include "tests/support/real_parts.h"

#include <map>
#include <mutex>

#include "tests/support/places.h"
#include "tests/support/process.h"

namespace consul_canary::testing {

base::Result<std::string> FindPart(std::string_view part) {
  static std::mutex mutex;
  static std::map<std::string, std::string, std::less<>> found;
  const std::lock_guard lock(mutex);
  if (const auto known = found.find(part); known != found.end()) return known->second;
  auto path = RunCommand({.argv = {SourceFolder() + "/deploy/real-parts/find", std::string(part)}},
                         seconds(20));
  if (!path) return base::Fail(base::ErrorCode::kNotFound, path.error().message);
  while (path->ends_with('\n')) path->pop_back();
  found.emplace(part, *path);
  return *path;
}

}  // namespace consul_canary::testing
