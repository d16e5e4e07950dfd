// Who may call whom, as Consul's intentions say. A transparent proxy declares no upstreams: Consul
// gives it a cluster for each service that its intentions let it call. Pure.
// https://developer.hashicorp.com/consul/docs/connect/intentions
#pragma once

#include <map>
#include <set>
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

// What the intentions permit, without the exceptions that they make from a wildcard: a service that
// is named here by a wildcard only may be denied all the same, and its sidecar then has no cluster.
struct PermittedCalls {
  std::map<std::string, std::set<std::string>> exact;  // source → destinations, both by name
  std::set<std::string> open_destinations;             // that any service may call
  std::set<std::string> open_sources;                  // that may call any service
  bool open = false;                                   // any may call any, by "*" or by default

  bool operator==(const PermittedCalls&) const = default;
};

// `by_default`: what holds where no intention matches.
[[nodiscard]] PermittedCalls PermittedBy(const std::vector<Intention>& intentions, bool by_default);

// All intentions in one list. They need no permission beyond service:read.
[[nodiscard]] std::string IntentionsPath();

// Asks whether a service that has no intention of its own may call another such one: what holds by
// default. It blocks never, and answers as {"Allowed":true}.
[[nodiscard]] std::string DefaultIntentionPath();
[[nodiscard]] base::Result<bool> ParseAllowedByDefault(std::string_view json);

}  // namespace consul_canary::consul
