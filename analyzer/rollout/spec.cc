#include "analyzer/rollout/spec.h"

#include <cmath>

#include "analyzer/stats/restarts.h"

namespace consul_canary::rollout {
namespace {

bool TellsVersions(const Spec& spec) {
  return !spec.version_key.empty() || !spec.version_tag_prefix.empty();
}

}  // namespace

std::string RolloutId(const Spec& spec) {
  const auto named = [](const std::string& place) {
    return place.empty() ? std::string("default") : place;
  };
  const std::string partition = named(spec.partition);
  const std::string namespace_name = named(spec.namespace_name);
  if (partition == "default" && namespace_name == "default") return spec.service;
  return partition + "." + namespace_name + "." + spec.service;
}

bool WritesFilters(const Spec& spec) {
  return spec.promote != PromoteMode::kExternal && TellsVersions(spec);
}

std::string FilterForVersion(const Spec& spec, const std::string& version) {
  if (!TellsVersions(spec)) return version;
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
  const double steps = spec.deadline.count() * static_cast<double>(spec.steps.size());
  const double epochs = std::ceil(steps / stats::kEpochSeconds) +
                        std::ceil(spec.after_promotion.count() / kWatchEpochSeconds);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(epochs));
}

}  // namespace consul_canary::rollout
