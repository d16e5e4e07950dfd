#include "analyzer/control/entry_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

namespace consul_canary::control {
namespace {

using nlohmann::json;

std::string TextAt(const json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

class ConsulEntryWriter final : public EntryWriter {
 public:
  explicit ConsulEntryWriter(consul::Client& client) : client_(client) {}

  void Write(std::string_view entry_json, std::uint64_t cas_index,
             consul::Reply<bool> reply) override {
    client_.WriteEntry(entry_json, cas_index, std::move(reply));
  }

  void Remove(std::string_view entry_json, std::uint64_t cas_index,
              consul::Reply<bool> reply) override {
    const json entry = json::parse(entry_json, nullptr, false);
    client_.DeleteEntryAt(TextAt(entry, "Kind"), TextAt(entry, "Name"), cas_index,
                          std::move(reply));
  }

 private:
  consul::Client& client_;
};

std::string_view CustomResourceOf(std::string_view kind) {
  constexpr std::pair<std::string_view, std::string_view> kKinds[] = {
      {"service-splitter", "ServiceSplitter"},
      {"service-resolver", "ServiceResolver"},
      {"service-router", "ServiceRouter"},
      {"service-defaults", "ServiceDefaults"},
      {"proxy-defaults", "ProxyDefaults"}};
  const auto* const found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                         [kind](const auto& each) { return each.first == kind; });
  return found == std::end(kKinds) ? kind : found->second;
}

}  // namespace

std::string WhyNotWritable(std::string_view kind, std::string_view name,
                           const std::map<std::string, std::string>& meta) {
  const auto owner = meta.find(kKubernetesMetaKey);
  if (owner == meta.end()) return "";
  return fmt::format(
      "the {0} \"{1}\" is owned by Kubernetes: the {2} custom resource \"{1}\" in the cluster of "
      "datacenter \"{3}\" would write over whatever is put there, and no writer for entries owned "
      "by Kubernetes is built yet. Set `act: false`, which judges and writes nothing{4}, or delete "
      "the custom resource and write the entry with `consul config write`",
      kind, name, CustomResourceOf(kind), owner->second,
      kind == "service-resolver" ? ", or `promote: external`, which leaves the resolver alone"
                                 : "");
}

std::string WhyNotWritable(std::string_view entry_json) {
  const json entry = json::parse(entry_json, nullptr, false);
  if (!entry.is_object()) return "";
  std::map<std::string, std::string> meta;
  if (const auto found = entry.find("Meta"); found != entry.end() && found->is_object()) {
    for (const auto& [key, value] : found->items()) {
      meta[key] = value.is_string() ? value.get<std::string>() : value.dump();
    }
  }
  return WhyNotWritable(TextAt(entry, "Kind"), TextAt(entry, "Name"), meta);
}

base::Result<std::unique_ptr<EntryWriter>> WriterFor(consul::Client& client,
                                                     std::string_view entry_json) {
  if (std::string why = WhyNotWritable(entry_json); !why.empty()) {
    return base::Fail(base::ErrorCode::kConflict, std::move(why));
  }
  return std::make_unique<ConsulEntryWriter>(client);
}

}  // namespace consul_canary::control
