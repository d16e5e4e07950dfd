// The one way by which the analyzer writes configuration entries: through the writer of whoever
// owns the entry, as the entry's own Meta tells. What consul-k8s owns is never put into Consul:
// its custom resource would write over it, at once or hours later, without a word.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "exporter/base/result.h"
#include "exporter/consul/client.h"

namespace consul_canary::control {

// In the Meta of what consul-k8s has written; its value is the datacenter of the cluster that owns
// the entry. Each cluster writes its own alone, and an entry of a remote datacenter has an owner as
// well, so that the key is there is what counts
// (consul-k8s: control-plane/controllers/configentries/configentry_controller.go).
inline constexpr const char* kKubernetesMetaKey = "consul.hashicorp.com/source-datacenter";

class EntryWriter {
 public:
  virtual ~EntryWriter() = default;

  // I/O thread. Replaces the entry where its ModifyIndex still is `cas_index` (0: where there is
  // none). The reply is false where it is not, and nothing has changed; it comes after the writer's
  // end too.
  virtual void Write(std::string_view entry_json, std::uint64_t cas_index,
                     consul::Reply<bool> reply) = 0;
  // The same, but the entry goes. cas_index > 0.
  virtual void Remove(std::string_view entry_json, std::uint64_t cas_index,
                      consul::Reply<bool> reply) = 0;
};

// Why the analyzer may not write an entry with this Meta, which entry that is and what to do;
// empty: it may. `kind` is Consul's: service-splitter, service-resolver, …
[[nodiscard]] std::string WhyNotWritable(std::string_view kind, std::string_view name,
                                         const std::map<std::string, std::string>& meta);
// Of an entry's JSON. What is no JSON has no owner: Consul refuses it.
[[nodiscard]] std::string WhyNotWritable(std::string_view entry_json);

// The writer for an entry that reads (or is to read) so; kConflict with WhyNotWritable() where none
// is built. `client` must outlive it.
[[nodiscard]] base::Result<std::unique_ptr<EntryWriter>> WriterFor(consul::Client& client,
                                                                   std::string_view entry_json);

}  // namespace consul_canary::control
