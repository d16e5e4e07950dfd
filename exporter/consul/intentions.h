// Who may call whom, as Consul's intentions say. A transparent proxy declares no upstreams: Consul
// gives it a cluster for each service that its intentions let it call. Pure.
// https://developer.hashicorp.com/consul/docs/connect/intentions
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/result.h"

namespace consul_canary::consul {

struct Intention {
  std::string source{};       // "*": any service
  std::string destination{};  // "*": any service
  bool allows = false;        // Action allow, or Permissions that allow some requests

  bool operator==(const Intention&) const = default;
};

// The answer of IntentionsPath(); those of peers and of other namespaces and partitions than
// `namespace_name` and `partition` (empty: default) are left out, since such callers are not
// discovered either.
[[nodiscard]] base::Result<std::vector<Intention>> ParseIntentions(std::string_view json,
                                                                   std::string_view namespace_name,
                                                                   std::string_view partition);

enum class Permission {
  kDenied,
  kAllowed,   // by an intention that names both
  kPossible,  // by a wildcard or by default: many may call, few do
};

// The most exact intention decides: one that names the destination before one that names the
// source, as Consul orders them. `by_default`: what holds where none matches.
[[nodiscard]] Permission MayCall(const std::vector<Intention>& intentions, bool by_default,
                                 std::string_view source, std::string_view destination);

// All intentions in one list. They need no permission beyond service:read.
[[nodiscard]] std::string IntentionsPath();

// Asks whether a service that has no intention of its own may call another such one: what holds by
// default. It blocks never, and answers as {"Allowed":true}.
[[nodiscard]] std::string DefaultIntentionPath();
[[nodiscard]] base::Result<bool> ParseAllowedByDefault(std::string_view json);

}  // namespace consul_canary::consul
