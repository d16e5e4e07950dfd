// What to do about a request that Consul refused or that never reached it, by the words of Consul
// and of libcurl. Pure.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/base/clock.h"

namespace consul_canary::consul {

// The rule that the token's policy lacks, as it stands in HCL: `key_prefix "consul-canary/" {
// policy = "write" }`. Empty: the words do not tell.
[[nodiscard]] std::string MissingRule(std::string_view reason);

// The rule without which Consul leaves things out of what this path answers; of instances, the one
// on nodes, where services may be read.
[[nodiscard]] std::string RuleToSeeAll(std::string_view path);

// What to do where Consul refused, with the rule or the variable to set; empty: nothing is known.
[[nodiscard]] std::string RemedyForAnswer(int status, std::string_view reason);

// The same where no answer came: an address or a TLS variable that is wrong.
[[nodiscard]] std::string RemedyForFailure(std::string_view reason);

// What the token's policy lacks.
struct Refusal {
  std::string request;    // "PUT /v1/kv/consul-canary/specs/api"
  std::string rule;       // as MissingRule()
  bool left_out = false;  // the request was answered, without what the token may not read

  bool operator==(const Refusal&) const = default;
};
[[nodiscard]] std::string InWords(const Refusal& refusal);

// Remembers what was refused lately. Not for several threads.
class Refusals {
 public:
  // `path` tells requests of one name apart. The refusal's rule is empty where nothing was refused.
  void Note(const std::string& path, Refusal refusal, base::MonotonicTime now);

  // One for each rule; first those for want of which requests fail.
  [[nodiscard]] std::vector<Refusal> Lately(base::MonotonicTime now) const;

  // Requests whose answers lack something, by name: what is not in them may be there all the same.
  [[nodiscard]] std::set<std::string> LeftOut() const;

 private:
  struct Seen {
    Refusal refusal;
    base::MonotonicTime at{};
  };
  std::map<std::string, Seen> by_path_;
};

}  // namespace consul_canary::consul
