// Conditions on a request that send it to the canary whatever the weight (`strategy.match`). Plain
// values.
#pragma once

#include <string>
#include <string_view>

namespace consul_canary::rollout {

enum class MatchKind { kPresent, kExact, kPrefix, kSuffix, kRegex };

struct Match {
  // One of the two is set.
  std::string header;  // in lower case
  std::string cookie;
  MatchKind kind = MatchKind::kExact;
  std::string value;  // empty with kPresent

  bool operator==(const Match&) const = default;
};

// The key of a specification: present, exact, prefix, suffix, regex.
[[nodiscard]] std::string_view ToString(MatchKind kind);

// `header x-canary, exact "always"`, `cookie canary, present`.
[[nodiscard]] std::string ToString(const Match& match);

}  // namespace consul_canary::rollout
