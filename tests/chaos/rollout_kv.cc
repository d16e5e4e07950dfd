#include "tests/chaos/rollout_kv.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analyzer/control/keys.h"
#include "exporter/consul/client.h"
#include "tests/chaos/watcher.h"

namespace consul_canary::testing {
namespace {

using base::Result;
using nlohmann::json;

std::string TextOf(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

Result<std::vector<consul::KvPair>> List(const ConsulAgent& consul, const std::string& prefix) {
  const std::string path = fmt::format("/v1/kv/{}?recurse", prefix);
  const auto answer = consul.Call("GET", path);
  if (answer && answer->status == 404) return std::vector<consul::KvPair>();
  return BodyOf(answer, "GET " + path).and_then(consul::ParseKvPairs);
}

DecisionSeen DecisionOf(const consul::KvPair& pair) {
  const json stored = json::parse(pair.value, nullptr, false);
  if (!stored.is_object()) return {};
  return {.sequence = stored.value("sequence", std::uint64_t{0}),
          .index = pair.modify_index,
          .action = stored.value("action", ""),
          .cause = stored.value("cause", ""),
          .to = stored.value("to", ""),
          .weight = stored.value("weight", 0.0),
          .version = stored.value("canary_version", ""),
          .reason = stored.value("reason", "")};
}

bool IsAccepted(const ProxiedWrite& write) {
  return write.status == 200 && write.answer.starts_with("true");
}

// A transaction's operations on keys that begin with `prefix`, in the form of stored pairs.
std::vector<consul::KvPair> PairsIn(const std::string& body, const std::string& prefix) {
  json pairs = json::array();
  for (const json& op : json::parse(body, nullptr, false)) {
    if (!op.is_object() || !op.contains("KV")) continue;
    const json& kv = op["KV"];
    if (kv.value("Verb", "") != "set" || !kv.value("Key", "").starts_with(prefix)) continue;
    pairs.push_back({{"Key", kv["Key"]}, {"Value", kv["Value"]}, {"ModifyIndex", 0}});
  }
  return consul::ParseKvPairs(pairs.dump()).value_or(std::vector<consul::KvPair>());
}

}  // namespace

Result<std::optional<StoredRollout>> ReadRollout(const ConsulAgent& consul,
                                                 const std::string& service) {
  const auto text = consul.KvGet(control::RolloutKey(service, "state"));
  if (!text) return tl::unexpected(text.error());
  if (!*text) return std::optional<StoredRollout>();
  const json state = json::parse(**text, nullptr, false);
  if (!state.is_object()) {
    return base::Fail(base::ErrorCode::kInvalid, "the stored state is no JSON object");
  }
  StoredRollout rollout{.phase = state.value("phase", ""),
                        .stage = state.value("stage", ""),
                        .version = state.value("canary_version", ""),
                        .reason = state.value("reason", ""),
                        .foreign_edit = state.value("foreign_edit", false),
                        .decisions = state.value("decisions", std::uint64_t{0})};
  const json wanted = state.value("wanted", json::object());
  rollout.wanted = wanted.value("canary_percent", 0.0);
  rollout.canary_filter = TextOf(wanted, "canary_filter");
  rollout.primary_filter = TextOf(wanted, "primary_filter");
  return std::optional(std::move(rollout));
}

Result<std::vector<DecisionSeen>> ReadDecisions(const ConsulAgent& consul,
                                                const std::string& service) {
  return List(consul, control::RolloutKey(service, "decisions/")).map([](const auto& pairs) {
    std::vector<DecisionSeen> decisions;  // keys come sorted
    std::transform(pairs.begin(), pairs.end(), std::back_inserter(decisions), DecisionOf);
    return decisions;
  });
}

Result<std::string> ReadLockHolder(const ConsulAgent& consul, const std::string& service) {
  return List(consul, control::LockKey(service)).map([](const auto& pairs) {
    return pairs.empty() ? std::string() : pairs.front().session;
  });
}

Result<std::size_t> OrdersLeft(const ConsulAgent& consul, const std::string& service) {
  return List(consul, control::OrdersKey(service)).map([](const auto& pairs) {
    return pairs.size();
  });
}

void AddTimes(const std::vector<ProxiedWrite>& writes, const std::string& service,
              std::vector<DecisionSeen>& decisions) {
  const std::string prefix = control::RolloutKey(service, "decisions/");
  for (const ProxiedWrite& write : writes) {
    if (!write.path.starts_with("/v1/txn")) continue;
    for (const consul::KvPair& pair : PairsIn(write.body, prefix)) {
      const DecisionSeen sent = DecisionOf(pair);
      for (DecisionSeen& decision : decisions) {
        if (decision.sequence != sent.sequence || decision.reason != sent.reason) continue;
        if (!decision.decided || write.received < *decision.decided) {
          decision.decided = write.received;
        }
      }
    }
  }
}

std::vector<SplitterWrite> SplitterWrites(const std::vector<ProxiedWrite>& writes,
                                          const std::string& service, const std::string& analyzer) {
  std::vector<SplitterWrite> found;
  for (const ProxiedWrite& write : writes) {
    if (!write.path.starts_with("/v1/config") || !write.forwarded) continue;
    const auto entry = ReadSplitter(json::parse(write.body, nullptr, false));
    if (!entry || entry->first != service) continue;
    found.push_back({.analyzer = analyzer,
                     .canary = entry->second.canary,
                     .sum = entry->second.sum,
                     .epoch = entry->second.epoch,
                     .received = write.received,
                     .forwarded = *write.forwarded,
                     .answered = write.answered,
                     .accepted = IsAccepted(write)});
  }
  return found;
}

std::vector<ResolverWrite> ResolverWrites(const std::vector<ProxiedWrite>& writes,
                                          const std::string& service, const std::string& analyzer) {
  std::vector<ResolverWrite> found;
  for (const ProxiedWrite& write : writes) {
    if (!write.path.starts_with("/v1/config") || !write.forwarded) continue;
    const json entry = json::parse(write.body, nullptr, false);
    if (!entry.is_object() || entry.value("Kind", "") != "service-resolver") continue;
    if (entry.value("Name", "") != service) continue;
    found.push_back({.analyzer = analyzer,
                     .epoch = EpochOf(entry),
                     .forwarded = *write.forwarded,
                     .answered = write.answered,
                     .accepted = IsAccepted(write)});
  }
  return found;
}

}  // namespace consul_canary::testing
