#include "analyzer/rollout/match.h"

namespace consul_canary::rollout {

std::string_view ToString(MatchKind kind) {
  switch (kind) {
    case MatchKind::kPresent:
      return "present";
    case MatchKind::kExact:
      return "exact";
    case MatchKind::kPrefix:
      return "prefix";
    case MatchKind::kSuffix:
      return "suffix";
    case MatchKind::kRegex:
      return "regex";
  }
  return "unknown";
}

std::string ToString(const Match& match) {
  std::string text = match.cookie.empty() ? "header " + match.header : "cookie " + match.cookie;
  text += ", " + std::string(ToString(match.kind));
  if (match.kind != MatchKind::kPresent) text += " \"" + match.value + "\"";
  return text;
}

}  // namespace consul_canary::rollout
