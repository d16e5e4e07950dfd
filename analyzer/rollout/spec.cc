#include "analyzer/rollout/spec.h"

#include <cmath>

#include "analyzer/stats/restarts.h"

namespace consul_canary::rollout {

std::string FilterForVersion(const Spec& spec, const std::string& version) {
  std::string escaped;
  for (const char c : version) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  static constexpr std::string_view kPlaceholder = "{{version}}";
  std::string filter = spec.subset_filter;
  for (std::size_t at = filter.find(kPlaceholder); at != std::string::npos;
       at = filter.find(kPlaceholder, at + escaped.size())) {
    filter.replace(at, kPlaceholder.size(), escaped);
  }
  return filter;
}

std::int64_t PlannedEpochs(const Spec& spec) {
  const double total = spec.deadline.count() * static_cast<double>(spec.steps.size());
  return std::max<std::int64_t>(1,
                                static_cast<std::int64_t>(std::ceil(total / stats::kEpochSeconds)));
}

}  // namespace consul_canary::rollout
