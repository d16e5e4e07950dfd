#include "exporter/consul/intentions.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "exporter/consul/json_fields.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::Fail;

constexpr std::string_view kAny = "*";

// Intentions name what lies in the default one by "default", open-source Consul's partition by "".
bool IsOwn(std::string_view named, std::string_view own) {
  const auto plain = [](std::string_view name) { return name == "default" ? "" : name; };
  return named == kAny || plain(named) == plain(own);
}

bool Allows(const Json& intention) {
  const Json& permissions = Child(intention, "Permissions");
  if (!permissions.is_array() || permissions.empty()) return Text(intention, "Action") == "allow";
  for (const Json& permission : permissions) {
    if (Text(permission, "Action") == "allow") return true;
  }
  return false;
}

}  // namespace

base::Result<std::vector<Intention>> ParseIntentions(std::string_view json,
                                                     std::string_view namespace_name,
                                                     std::string_view partition) {
  const std::optional<Json> list = ParseJson(json);
  std::vector<Intention> intentions;
  if (list && list->is_null()) return intentions;
  if (!list || !list->is_array()) {
    return Fail(ErrorCode::kInvalid, "the answer is not a JSON array");
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    const Json& item = (*list)[i];
    Intention intention{Text(item, "SourceName"), Text(item, "DestinationName"), Allows(item)};
    if (intention.source.empty() || intention.destination.empty()) {
      return Fail(ErrorCode::kInvalid, fmt::format("intention {} lacks a name", i));
    }
    const bool own = IsOwn(Text(item, "SourceNS"), namespace_name) &&
                     IsOwn(Text(item, "DestinationNS"), namespace_name) &&
                     IsOwn(Text(item, "SourcePartition"), partition) &&
                     IsOwn(Text(item, "DestinationPartition"), partition);
    if (own && Text(item, "SourcePeer").empty()) intentions.push_back(std::move(intention));
  }
  return intentions;
}

PermittedCalls PermittedBy(const std::vector<Intention>& intentions, bool by_default) {
  PermittedCalls calls;
  calls.open = by_default;
  for (const Intention& intention : intentions) {
    const bool any_source = intention.source == kAny;
    const bool any_destination = intention.destination == kAny;
    // The default holds for nobody where an intention speaks of all.
    if (any_source && any_destination) calls.open = intention.allows;
    if (!intention.allows) continue;
    if (!any_source && !any_destination)
      calls.exact[intention.source].insert(intention.destination);
    if (any_source && !any_destination) calls.open_destinations.insert(intention.destination);
    if (!any_source && any_destination) calls.open_sources.insert(intention.source);
  }
  return calls;
}

std::string IntentionsPath() { return "/v1/connect/intentions"; }

std::string DefaultIntentionPath() {
  return "/v1/connect/intentions/check?source=consul-canary-nobody&destination="
         "consul-canary-nothing";
}

base::Result<bool> ParseAllowedByDefault(std::string_view json) {
  const std::optional<Json> answer = ParseJson(json);
  if (!answer || !Child(*answer, "Allowed").is_boolean()) {
    return Fail(ErrorCode::kInvalid, "the answer has no Allowed");
  }
  return Flag(*answer, "Allowed");
}

}  // namespace consul_canary::consul
