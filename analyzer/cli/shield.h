// `check` and `shield`: the two commands that speak to Consul itself, as CONSUL_HTTP_ADDR and its
// like say, and to no analyzer.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace consul_canary::cli {

struct ShieldOptions {
  std::string service;
  std::string primary_subset = "primary";
  std::string canary_subset = "canary";
  std::vector<std::string> callers{};
  std::optional<int> max_failures{};  // that eject an instance
  bool apply = false;
  bool remove = false;
  bool now = false;    // with apply: although the canary gets requests
  std::string format;  // of check: table, json, yaml; of shield: hcl, json, kubernetes
};

// kDone: nothing is missing or dangerous; kRefused: something is; kHeld: Consul did not say enough.
int Check(const ShieldOptions& options);
// kRefused where not all could be written.
int Shield(const ShieldOptions& options);

}  // namespace consul_canary::cli
