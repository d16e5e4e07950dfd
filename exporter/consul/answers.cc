#include "exporter/consul/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "exporter/consul/json_fields.h"

namespace consul_canary::consul {
namespace {

using base::ErrorCode;
using base::Fail;
using base::Result;

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8u | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? kAlphabet[group >> (18u - 6u * k) & 63u] : '=';
    }
  }
  return text;
}

std::optional<std::string> DecodeBase64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t group = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    group = group << 6u | static_cast<std::uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>(static_cast<unsigned char>(group >> bits & 255u));
    }
  }
  return bytes;
}

// Consul answers `null` for an empty list in some places.
Result<Json> ParseArray(std::string_view json) {
  std::optional<Json> parsed = ParseJson(json);
  if (parsed && parsed->is_null()) return Json::array();
  if (!parsed || !parsed->is_array()) {
    return Fail(ErrorCode::kInvalid, "the answer is not a JSON array");
  }
  return *std::move(parsed);
}

Result<Json> ParseObject(std::string_view json) {
  std::optional<Json> parsed = ParseJson(json);
  if (!parsed || !parsed->is_object()) {
    return Fail(ErrorCode::kInvalid, "the answer is not a JSON object");
  }
  return *std::move(parsed);
}

bool IsPassing(const Json& checks) {
  if (!checks.is_array()) return true;
  for (const Json& check : checks) {
    const std::string status = Text(check, "Status");
    if (status != "passing" && status != "warning") return false;
  }
  return true;
}

// Empty and "default" are one namespace and one partition.
bool IsElsewhere(const Json& upstream, const char* key, std::string own) {
  const std::string there = Text(upstream, key);
  if (own.empty()) own = "default";
  return !there.empty() && there != own;
}

// Consul merges PassiveHealthCheck under the name that a proxy's registration gives it, with its
// fields as in the entry; a registration writes them with underscores.
// Failures in a row; 0: it ejects nobody.
int EjectsAfter(const Json& upstream) {
  const Json& check = Child(Child(upstream, "Config"), "passive_health_check");
  const std::uint64_t failures =
      std::max(Unsigned(check, "MaxFailures"), Unsigned(check, "max_failures"));
  const auto is_off = [&check](const char* key) {
    return check.contains(key) && Unsigned(check, key) == 0;
  };
  if (is_off("EnforcingConsecutive5xx") || is_off("enforcing_consecutive_5xx")) return 0;
  return static_cast<int>(std::min<std::uint64_t>(failures, std::numeric_limits<int>::max()));
}

// "*" stands for every destination of a transparent proxy and is no service.
void ReadUpstreams(const Json& node, const Json& service, Instance& instance) {
  const Json& upstreams = Child(Child(service, "Proxy"), "Upstreams");
  if (!upstreams.is_array()) return;
  const std::string datacenter = Text(node, "Datacenter");
  for (const Json& upstream : upstreams) {
    const std::string type = Text(upstream, "DestinationType");
    std::string name = Text(upstream, "DestinationName");
    if ((!type.empty() && type != "service") || name.empty() || name == "*") continue;
    if (IsElsewhere(upstream, "DestinationNamespace", Text(service, "Namespace")) ||
        IsElsewhere(upstream, "DestinationPartition", Text(service, "Partition")) ||
        !Text(upstream, "DestinationPeer").empty() ||
        (!datacenter.empty() && IsElsewhere(upstream, "Datacenter", datacenter))) {
      continue;
    }
    if (const int failures = EjectsAfter(upstream); failures > 0) {
      instance.ejecting_upstreams[name] = failures;
    }
    instance.upstreams.push_back(std::move(name));
  }
}

int Port(const Json& service) {
  const std::uint64_t port = Unsigned(service, "Port");
  return port <= 65535 ? static_cast<int>(port) : 0;
}

Instance ReadInstance(const Json& json) {
  const Json& node = Child(json, "Node");
  const Json& service = Child(json, "Service");
  const Json& proxy = Child(service, "Proxy");
  Instance instance;
  instance.node = Text(node, "Node");
  instance.node_address = Text(node, "Address");
  instance.id = Text(service, "ID");
  instance.service = Text(service, "Service");
  instance.kind = Text(service, "Kind");
  instance.address = Text(service, "Address");
  if (instance.address.empty()) instance.address = instance.node_address;
  instance.port = Port(service);
  instance.tags = Texts(service, "Tags");
  instance.meta = TextMap(service, "Meta");
  instance.create_index = Unsigned(service, "CreateIndex");
  instance.passing = IsPassing(Child(json, "Checks"));
  instance.destination_service = Text(proxy, "DestinationServiceName");
  instance.destination_id = Text(proxy, "DestinationServiceID");
  ReadUpstreams(node, service, instance);
  instance.transparent = Text(proxy, "Mode") == "transparent";
  instance.prometheus_bind_addr = Text(Child(proxy, "Config"), "envoy_prometheus_bind_addr");
  return instance;
}

Result<KvPair> ReadPair(const Json& json) {
  KvPair pair;
  pair.key = Text(json, "Key");
  if (pair.key.empty()) return Fail(ErrorCode::kInvalid, "a pair has no key");
  std::optional<std::string> value = DecodeBase64(Text(json, "Value"));
  if (!value) return Fail(ErrorCode::kInvalid, fmt::format("{}: Value is no base64", pair.key));
  pair.value = *std::move(value);
  pair.modify_index = Unsigned(json, "ModifyIndex");
  pair.lock_index = Unsigned(json, "LockIndex");
  pair.session = Text(json, "Session");
  return pair;
}

}  // namespace

Result<std::vector<Instance>> ParseInstances(std::string_view json) {
  const Result<Json> list = ParseArray(json);
  if (!list) return tl::unexpected(list.error());
  std::vector<Instance> instances;
  instances.reserve(list->size());
  for (std::size_t i = 0; i < list->size(); ++i) {
    Instance instance = ReadInstance((*list)[i]);
    if (instance.id.empty() || instance.service.empty()) {
      return Fail(ErrorCode::kInvalid, fmt::format("instance {} has no ID or no service", i));
    }
    instances.push_back(std::move(instance));
  }
  return instances;
}

Result<std::vector<std::string>> ParseServiceNames(std::string_view json) {
  const Result<Json> object = ParseObject(json);
  if (!object) return tl::unexpected(object.error());
  std::vector<std::string> names;
  for (const auto& [name, tags] : object->items()) names.push_back(name);
  return names;
}

Result<std::vector<KvPair>> ParseKvPairs(std::string_view json) {
  const Result<Json> list = ParseArray(json);
  if (!list) return tl::unexpected(list.error());
  std::vector<KvPair> pairs;
  for (const Json& item : *list) {
    Result<KvPair> pair = ReadPair(item);
    if (!pair) return tl::unexpected(pair.error());
    pairs.push_back(*std::move(pair));
  }
  return pairs;
}

Result<std::vector<std::string>> ParseKeyList(std::string_view json) {
  const Result<Json> list = ParseArray(json);
  if (!list) return tl::unexpected(list.error());
  std::vector<std::string> keys;
  for (const Json& key : *list) {
    if (!key.is_string()) return Fail(ErrorCode::kInvalid, "a key is no string");
    keys.push_back(key.get<std::string>());
  }
  return keys;
}

Result<std::vector<KvPair>> ParseTxnResults(std::string_view json) {
  const Result<Json> object = ParseObject(json);
  if (!object) return tl::unexpected(object.error());
  std::vector<KvPair> pairs;
  const Json& results = Child(*object, "Results");
  if (!results.is_array()) return pairs;
  for (const Json& result : results) {
    Result<KvPair> pair = ReadPair(Child(result, "KV"));
    if (!pair) return tl::unexpected(pair.error());
    pairs.push_back(*std::move(pair));
  }
  return pairs;
}

std::string TxnErrors(std::string_view json) {
  const std::optional<Json> parsed = ParseJson(json);
  std::string reasons;
  if (!parsed) return reasons;
  const Json& errors = Child(*parsed, "Errors");
  if (!errors.is_array()) return reasons;
  for (const Json& error : errors) {
    if (!reasons.empty()) reasons += "; ";
    reasons += Text(error, "What");
  }
  return reasons;
}

Result<bool> ParseTruth(std::string_view body) {
  if (body.starts_with("true")) return true;
  if (body.starts_with("false")) return false;
  return Fail(ErrorCode::kInvalid, "the answer is neither true nor false");
}

Result<std::string> ParseProtocol(std::string_view json) {
  const Result<Json> object = ParseObject(json);
  if (!object) return tl::unexpected(object.error());
  std::string protocol = Text(Child(*object, "Chain"), "Protocol");
  if (protocol.empty()) return Fail(ErrorCode::kInvalid, "the chain has no Protocol");
  return protocol;
}

Result<std::string> ParseDatacenter(std::string_view json) {
  const Result<Json> object = ParseObject(json);
  if (!object) return tl::unexpected(object.error());
  std::string datacenter = Text(Child(*object, "Chain"), "Datacenter");
  if (datacenter.empty()) return Fail(ErrorCode::kInvalid, "the chain has no Datacenter");
  return datacenter;
}

Result<bool> ParseAllowed(std::string_view json) {
  const Result<Json> list = ParseArray(json);
  if (!list) return tl::unexpected(list.error());
  if (list->size() != 1 || !Child((*list)[0], "Allow").is_boolean()) {
    return Fail(ErrorCode::kInvalid, "the answer is not one verdict");
  }
  return Flag((*list)[0], "Allow");
}

Result<std::string> ParseSessionId(std::string_view json) {
  const Result<Json> object = ParseObject(json);
  if (!object) return tl::unexpected(object.error());
  std::string id = Text(*object, "ID");
  if (id.empty()) return Fail(ErrorCode::kInvalid, "the answer has no ID");
  return id;
}

Result<std::vector<Client::SessionInfo>> ParseSessions(std::string_view json) {
  const Result<Json> list = ParseArray(json);
  if (!list) return tl::unexpected(list.error());
  std::vector<Client::SessionInfo> sessions;
  for (const Json& item : *list) sessions.push_back({Text(item, "ID"), Text(item, "Name")});
  return sessions;
}

std::string AuthorizeBody(std::string_view resource, std::string_view segment,
                          std::string_view access) {
  Json question = Json::object();
  // Rules speak of key_prefix; the endpoint knows the resource's bare name only.
  constexpr std::string_view kPrefix = "_prefix";
  if (resource.ends_with(kPrefix)) resource.remove_suffix(kPrefix.size());
  question["Resource"] = resource;
  question["Segment"] = segment;
  question["Access"] = access;
  return Dump(Json::array({std::move(question)}));
}

std::string SessionBody(std::string_view name, base::seconds ttl, std::string_view service_check) {
  Json session = Json::object();
  session["Name"] = name;
  session["TTL"] = fmt::format("{}s", ttl.count());
  session["Behavior"] = "release";
  session["LockDelay"] = "1ms";
  if (!service_check.empty()) {
    Json check = Json::object();
    check["ID"] = service_check;
    session["ServiceChecks"] = Json::array({std::move(check)});
  }
  return Dump(session);
}

std::string TxnBody(const std::vector<TxnOp>& operations) {
  Json list = Json::array();
  for (const TxnOp& operation : operations) {
    Json kv = Json::object();
    kv["Verb"] = operation.verb;
    kv["Key"] = operation.key;
    if (!operation.value.empty()) kv["Value"] = EncodeBase64(operation.value);
    if (operation.index != 0) kv["Index"] = operation.index;
    if (!operation.session.empty()) kv["Session"] = operation.session;
    Json wrapped = Json::object();
    wrapped["KV"] = std::move(kv);
    list.push_back(std::move(wrapped));
  }
  return Dump(list);
}

Result<std::string> EntryTarget(std::string_view entry_json) {
  const std::optional<Json> parsed = ParseJson(entry_json);
  if (!parsed || !parsed->is_object()) {
    return Fail(ErrorCode::kInvalid, "the entry to write is not a JSON object");
  }
  return fmt::format("{}/{}", Text(*parsed, "Kind"), Text(*parsed, "Name"));
}

}  // namespace consul_canary::consul
