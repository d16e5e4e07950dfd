#include "exporter/consul/remedies.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace consul_canary::consul {
namespace {

constexpr std::string_view kOwnKeys = "consul-canary/";
constexpr std::string_view kAllServices = "service_prefix \"\" { policy = \"read\" }";
constexpr std::string_view kAllNodes = "node_prefix \"\" { policy = \"read\" }";
// What fails is asked again within ten seconds; what is not is a matter of the past.
constexpr base::milliseconds kLately{15'000};
// Some for each service that is watched.
constexpr std::size_t kMostRemembered = 100'000;

bool Has(std::string_view text, std::string_view words) {
  return text.find(words) != std::string_view::npos;
}

// What stands between `before` and `after`, where both are there.
std::string_view Between(std::string_view text, std::string_view before, char after) {
  const std::size_t at = text.find(before);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = text.substr(at + before.size());
  const std::size_t end = rest.find(after);
  return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
}

struct Hint {
  std::string_view words;
  std::string_view remedy;
};

template <std::size_t size>
std::string FirstThatFits(const Hint (&hints)[size], std::string_view reason) {
  for (const Hint& hint : hints) {
    if (Has(reason, hint.words)) return std::string(hint.remedy);
  }
  return "";
}

}  // namespace

// Consul: acl/errors.go. "… lacks permission 'service:write' on "api"", or without a name.
std::string MissingRule(std::string_view reason) {
  const std::string_view permission = Between(reason, "lacks permission '", '\'');
  const std::size_t colon = permission.find(':');
  if (colon == std::string_view::npos) return "";
  const std::string_view resource = permission.substr(0, colon);
  const std::string_view access = permission.substr(colon + 1);
  const std::string_view name = Between(reason, "' on \"", '"');
  if (name.empty()) return fmt::format("{} = \"{}\"", resource, access);
  if (resource == "key" && name.starts_with(kOwnKeys)) {
    return fmt::format("key_prefix \"{}\" {{ policy = \"write\" }}", kOwnKeys);
  }
  return fmt::format("{} \"{}\" {{ policy = \"{}\" }}", resource, name, access);
}

std::string RuleToSeeAll(std::string_view path) {
  if (path.starts_with("/v1/kv/")) {
    return fmt::format("key_prefix \"{}\" {{ policy = \"write\" }}", kOwnKeys);
  }
  if (path.starts_with("/v1/session/")) return "session_prefix \"\" { policy = \"write\" }";
  return std::string(path.starts_with("/v1/health/") ? kAllNodes : kAllServices);
}

std::string RemedyForAnswer(int status, std::string_view reason) {
  constexpr int kBadRequest = 400;
  if (status == kBadRequest) {
    constexpr Hint kHints[] = {
        {"Namespaces are a Consul Enterprise feature",
         "CONSUL_NAMESPACE is set, and this Consul is not Enterprise: unset it"},
        {"Partitions are a Consul Enterprise feature",
         "CONSUL_PARTITION is set, and this Consul is not Enterprise: unset it"},
        {"HTTP request to an HTTPS server",
         "Consul speaks TLS there: set CONSUL_HTTP_SSL=true, or https:// in CONSUL_HTTP_ADDR"}};
    return FirstThatFits(kHints, reason);
  }
  if (std::string rule = MissingRule(reason); !rule.empty()) {
    return Has(reason, "anonymous token") ? "no token is sent: set CONSUL_HTTP_TOKEN_FILE to the "
                                            "file of one whose policy has " +
                                                rule
                                          : "the token's policy lacks " + rule;
  }
  constexpr Hint kHints[] = {
      {"ACL not found",
       "Consul does not know the token: it was deleted, belongs to another datacenter, or "
       "CONSUL_HTTP_TOKEN_FILE (CONSUL_HTTP_TOKEN) holds another one"}};
  return FirstThatFits(kHints, reason);
}

std::string RemedyForFailure(std::string_view reason) {
  constexpr Hint kHints[] = {
      {"unable to get local issuer certificate",
       "CONSUL_CACERT must be the certificate of the authority that signed Consul's"},
      {"self-signed certificate",
       "CONSUL_CACERT must be the certificate of the authority that signed Consul's"},
      {"self signed certificate",
       "CONSUL_CACERT must be the certificate of the authority that signed Consul's"},
      {"certificate signature failure",
       "CONSUL_CACERT must be the certificate of the authority that signed Consul's"},
      {"certificate has expired",
       "Consul's certificate (or the authority's) has expired: give Consul a new one"},
      {"certificate is not yet valid",
       "Consul's certificate is not valid yet: compare the clocks of this machine and of Consul's"},
      {"subject name matches",
       "Consul's certificate does not bear the name in CONSUL_HTTP_ADDR: set "
       "CONSUL_TLS_SERVER_NAME to one that it bears, as server.dc1.consul"},
      {"does not match target host name",
       "Consul's certificate does not bear the name in CONSUL_HTTP_ADDR: set "
       "CONSUL_TLS_SERVER_NAME to one that it bears, as server.dc1.consul"},
      {"alert certificate required",
       "Consul asks for a client certificate (verify_incoming): set CONSUL_CLIENT_CERT and "
       "CONSUL_CLIENT_KEY"},
      {"alert bad certificate",
       "Consul asks for a client certificate that its authority has signed (verify_incoming): set "
       "CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY"},
      {"alert unknown ca",
       "Consul does not know who signed CONSUL_CLIENT_CERT: it must be the authority in Consul's "
       "ca_file"},
      {"alert certificate expired", "CONSUL_CLIENT_CERT has expired: make a new one"},
      {"wrong version number",
       "Consul speaks no TLS there: unset CONSUL_HTTP_SSL, or set http:// in CONSUL_HTTP_ADDR"},
      {"error setting certificate", "CONSUL_CACERT or CONSUL_CAPATH holds no certificate in PEM"},
      {"unable to set private key file", "CONSUL_CLIENT_KEY is no key of CONSUL_CLIENT_CERT"},
      {"private key does not match", "CONSUL_CLIENT_KEY is no key of CONSUL_CLIENT_CERT"},
      {"could not load PEM client certificate", "CONSUL_CLIENT_CERT is no certificate in PEM"},
      {"Could not resolve host", "the host in CONSUL_HTTP_ADDR is not known to this machine"}};
  return FirstThatFits(kHints, reason);
}

std::string InWords(const Refusal& refusal) {
  return refusal.left_out
             ? fmt::format(
                   "Consul leaves out of {} what the token may not read; to see all, its "
                   "policy needs {}",
                   refusal.request, refusal.rule)
             : fmt::format("Consul refuses {}: the token's policy lacks {}", refusal.request,
                           refusal.rule);
}

void Refusals::Note(const std::string& path, Refusal refusal, base::MonotonicTime now) {
  if (refusal.rule.empty()) {
    by_path_.erase(path);
    return;
  }
  std::erase_if(by_path_, [now](const auto& each) {
    return !each.second.refusal.left_out && now - each.second.at > kLately;
  });
  if (by_path_.size() >= kMostRemembered && !by_path_.contains(path)) return;
  by_path_[path] = {std::move(refusal), now};
}

std::set<std::string> Refusals::LeftOut() const {
  std::set<std::string> requests;
  for (const auto& [path, seen] : by_path_) {
    if (seen.refusal.left_out) requests.insert(seen.refusal.request);
  }
  return requests;
}

std::vector<Refusal> Refusals::Lately(base::MonotonicTime now) const {
  std::vector<Refusal> found;
  for (const bool left_out : {false, true}) {
    for (const auto& each : by_path_) {
      const Seen& seen = each.second;
      if (seen.refusal.left_out != left_out) continue;
      if (!left_out && now - seen.at > kLately) continue;
      const bool known = std::any_of(found.begin(), found.end(), [&seen](const Refusal& other) {
        return other.rule == seen.refusal.rule;
      });
      if (!known) found.push_back(seen.refusal);
    }
  }
  // An instance is left out for its service or for its node, and which is not said. But a service
  // that may not be read is missing from lists of services as well.
  const auto is_left_out = [](std::string_view rule) {
    return [rule](const Refusal& each) { return each.left_out && each.rule == rule; };
  };
  if (std::any_of(found.begin(), found.end(), is_left_out(kAllServices))) {
    std::erase_if(found, is_left_out(kAllNodes));
  }
  return found;
}

}  // namespace consul_canary::consul
