// Consul's answers, or what stands in its place: lists of entries and of instances are read or
// refused with a reason, and what was read can be edited without losing what it was.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "exporter/consul/answers.h"
#include "exporter/consul/client.h"
#include "exporter/consul/config_entries.h"

namespace {

using namespace consul_canary;

void Require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", claim);
  std::abort();
}

template <class T>
void RequireReason(const base::Result<T>& result) {
  Require(result || !result.error().message.empty(), "a refusal has a reason");
}

void Edit(const consul::Splitter& splitter) {
  const auto edited =
      consul::WithWeights(splitter, "primary", "canary", 12.34, {{"consul-canary-epoch", "7"}});
  if (!edited) return;
  const auto again = consul::ParseSplitter(*edited);
  Require(again && again->name == splitter.name, "an edited splitter is one of that name");
  Require(again->WeightOf("canary") == 12.34, "an edited splitter has the weight");
  Require(again->meta.at("consul-canary-epoch") == "7", "an edited splitter has the epoch");
}

void Edit(const consul::Resolver& resolver) {
  for (const auto& [subset, filter] : resolver.subset_filters) {
    const auto edited = consul::WithSubsetFilter(resolver, subset, "Service.Meta.version == v2");
    Require(edited.has_value(), "a subset that is there can be edited");
    const auto again = consul::ParseResolver(*edited);
    Require(again && again->subset_filters.at(subset) == "Service.Meta.version == v2",
            "an edited resolver has the filter");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto splitters = consul::ParseSplitters(text);
  const auto resolvers = consul::ParseResolvers(text);
  RequireReason(splitters);
  RequireReason(resolvers);
  RequireReason(consul::ParseRouters(text));
  RequireReason(consul::ParseInstances(text));
  RequireReason(consul::ParseTxnResults(text));
  RequireReason(consul::ParseSessions(text));
  RequireReason(consul::EntryTarget(text));
  if (splitters) {
    for (const auto& splitter : *splitters) Edit(splitter);
  }
  if (resolvers) {
    for (const auto& resolver : *resolvers) Edit(resolver);
  }
  return 0;
}
