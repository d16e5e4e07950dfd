// Which version is rolled out, and what is remembered of those that were.
#include <algorithm>
#include <iterator>

#include "analyzer/rollout/transition.h"

namespace consul_canary::rollout {
namespace {

constexpr std::size_t kVersionsRemembered = 100;
constexpr std::size_t kFormerPrimariesRemembered = 10;

bool Contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool IsWithinWindow(const Transition& t, const FormerPrimary& former) {
  const double ago = t.seen.wall_seconds - former.until_wall_seconds;
  return ago >= 0 && ago < t.spec.rollback_window.count();
}

// All its instances had left, and others have been registered since: somebody has deployed it
// again. Instances that were never removed say nothing.
bool CameBack(const Transition& t, const VersionSeen& seen) {
  const auto& formers = t.state.former_primaries;
  return std::any_of(formers.begin(), formers.end(), [&](const FormerPrimary& former) {
    return former.version == seen.version && former.left &&
           seen.newest_index > former.until_index && IsWithinWindow(t, former);
  });
}

bool MayStart(const Transition& t, const VersionSeen& seen) {
  if (Contains(t.state.rolled_back_versions, seen.version)) return false;
  return !Contains(t.state.past_versions, seen.version) || CameBack(t, seen);
}

}  // namespace

std::string Candidate(const Transition& t, bool explicit_start) {
  const VersionSeen* newest = nullptr;
  for (const VersionSeen& seen : t.seen.versions) {
    if (seen.version.empty() || Contains(t.seen.primary_versions, seen.version)) continue;
    // Where no filter is written, nothing but what the subset holds can be rolled out.
    if (!WritesFilters(t.spec) && !Contains(t.seen.canary_versions, seen.version)) continue;
    if (!explicit_start && !MayStart(t, seen)) continue;
    if (newest == nullptr || seen.newest_index > newest->newest_index) newest = &seen;
  }
  return newest == nullptr ? "" : newest->version;
}

bool IsRevert(const Transition& t, const std::string& version) {
  const auto& formers = t.state.former_primaries;
  return std::any_of(formers.begin(), formers.end(), [&](const FormerPrimary& former) {
    return former.version == version && IsWithinWindow(t, former);
  });
}

void Remember(std::vector<std::string>& versions, const std::string& version) {
  if (version.empty()) return;
  std::erase(versions, version);
  versions.push_back(version);
  if (versions.size() > kVersionsRemembered) versions.erase(versions.begin());
}

void PassOver(Transition& t, const std::string& version) {
  const auto& seen = t.seen.versions;
  const auto chosen = std::find_if(
      seen.begin(), seen.end(), [&version](const VersionSeen& v) { return v.version == version; });
  if (chosen == seen.end()) return;
  for (const VersionSeen& other : seen) {
    if (other.newest_index < chosen->newest_index) Remember(t.state.past_versions, other.version);
  }
}

void NotePromoted(Transition& t) {
  State& state = t.state;
  auto& formers = state.former_primaries;
  Remember(state.past_versions, state.primary_version);
  std::erase_if(formers, [&state](const FormerPrimary& former) {
    return former.version == state.primary_version || former.version == state.canary_version;
  });
  // What a revert has replaced is no way back, and not to be tried again by itself.
  if (state.revert) return Remember(state.rolled_back_versions, state.primary_version);
  FormerPrimary former{.version = state.primary_version, .until_wall_seconds = t.seen.wall_seconds};
  for (const VersionSeen& seen : t.seen.versions) {
    former.until_index = std::max(former.until_index, seen.newest_index);
  }
  formers.push_back(std::move(former));
  if (formers.size() > kFormerPrimariesRemembered) formers.erase(formers.begin());
}

void FollowFormerPrimaries(Transition& t) {
  if (!t.seen.instances_known) return;
  for (FormerPrimary& former : t.state.former_primaries) {
    const auto& versions = t.seen.versions;
    former.left = former.left ||
                  std::none_of(versions.begin(), versions.end(), [&former](const VersionSeen& v) {
                    return v.version == former.version && v.passing > 0;
                  });
  }
}

}  // namespace consul_canary::rollout
