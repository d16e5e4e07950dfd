// Whatever answers at Consul's address, and whatever stands in a file of targets: the readers
// neither crash nor let through what cannot be asked.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "exporter/collect/gateways.h"
#include "exporter/collect/static_targets.h"
#include "exporter/collect/targets.h"
#include "exporter/consul/checks.h"
#include "exporter/consul/client.h"
#include "exporter/consul/intentions.h"

namespace {

using consul_canary::collect::ScrapeTarget;

void Expect(bool holds) {
  if (!holds) std::abort();
}

void ReadInstances(std::string_view text) {
  const auto instances = consul_canary::consul::ParseInstances(text);
  if (!instances) return Expect(!instances.error().message.empty());
  for (const auto& instance : *instances) {
    Expect(!instance.id.empty() && !instance.service.empty());
    const auto target = consul_canary::collect::TargetOf(instance);
    // It becomes part of a URL.
    if (target) Expect(target->address.find_first_of("/?#@ \r\n") == std::string::npos);
  }
}

void ReadTargets(std::string_view text) {
  const auto targets = consul_canary::collect::ParseStaticTargets(text);
  if (!targets) return Expect(!targets.error().message.empty());
  for (const auto& [address, target] : *targets) {
    Expect(consul_canary::collect::IsAddress(address) && !target.service.empty());
    Expect(consul_canary::collect::TargetOf(consul_canary::collect::ToInstance(target)) ==
           ScrapeTarget{address, target.admin});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ReadInstances(text);
  ReadTargets(text);
  (void)consul_canary::consul::ParseServiceNames(text);
  (void)consul_canary::collect::ParseGatewayServices(text);
  (void)consul_canary::consul::ParseAllowedByDefault(text);
  if (const auto checks = consul_canary::consul::ParseFailingChecks(text)) {
    for (const auto& check : *checks) Expect(!check.node.empty());
  }
  if (const auto intentions = consul_canary::consul::ParseIntentions(text, "", "")) {
    for (const auto& intention : *intentions) Expect(!intention.source.empty());
    (void)consul_canary::consul::PermittedBy(*intentions, true);
  }
  return 0;
}
