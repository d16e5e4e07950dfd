#include "analyzer/control/match_routes.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace consul_canary::control {
namespace {

using rollout::Match;
using rollout::MatchKind;

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// What may stand for the value of the cookie.
std::string CookieValue(const Match& match) {
  constexpr std::string_view kAny = "[^;]*";
  switch (match.kind) {
    case MatchKind::kPrefix:
      return Escaped(match.value) + std::string(kAny);
    case MatchKind::kSuffix:
      return std::string(kAny) + Escaped(match.value);
    case MatchKind::kPresent:
      return std::string(kAny);
    case MatchKind::kExact:
    case MatchKind::kRegex:  // the specification has it for headers alone
      break;
  }
  return Escaped(match.value);
}

const char* KeyOf(MatchKind kind) {
  switch (kind) {
    case MatchKind::kPresent:
      return "Present";
    case MatchKind::kPrefix:
      return "Prefix";
    case MatchKind::kSuffix:
      return "Suffix";
    case MatchKind::kRegex:
      return "Regex";
    case MatchKind::kExact:
      break;
  }
  return "Exact";
}

consul::HeaderCondition ConditionOf(const Match& match) {
  if (match.cookie.empty()) {
    return {.name = match.header, .key = KeyOf(match.kind), .value = match.value};
  }
  return {.name = "cookie",
          .key = "Regex",
          .value = fmt::format("(.*; *)?{}={}(;.*)?", Escaped(match.cookie), CookieValue(match))};
}

rollout::RoutesSeen SeenOf(consul::RoutesFound found) {
  switch (found) {
    case consul::RoutesFound::kWhole:
      return rollout::RoutesSeen::kWhole;
    case consul::RoutesFound::kOther:
      return rollout::RoutesSeen::kOther;
    case consul::RoutesFound::kNone:
      break;
  }
  return rollout::RoutesSeen::kNone;
}

}  // namespace

consul::MatchRoutes RoutesOf(const rollout::Spec& spec) {
  consul::MatchRoutes routes{.subset = spec.canary_subset, .conditions = {}};
  routes.conditions.reserve(spec.match.size());
  for (const Match& match : spec.match) routes.conditions.push_back(ConditionOf(match));
  return routes;
}

rollout::RouterView RouterViewOf(const consul::Router& router, const rollout::Spec& spec) {
  // Parsed again at each look, but only where a rollout has to do with it.
  if (spec.match.empty() && !router.meta.contains(consul::kRoutesMetaKey) &&
      !router.meta.contains(consul::kMadeMetaKey)) {
    return {};
  }
  const consul::FoundRoutes found = consul::FindRoutes(router, RoutesOf(spec));
  return {
      .ours = SeenOf(found.ours), .made_for_ours = found.made_for_ours, .unnamed = found.unnamed};
}

}  // namespace consul_canary::control
