// Where a sidecar can be asked, from what Consul knows of it. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "exporter/consul/client.h"

namespace consul_canary::collect {

// Key in the proxy's Meta (which a sidecar service inherits from its service) whose value host:port
// is Envoy's admin port, reachable from here. Consul reserves keys that begin with "consul-".
inline constexpr std::string_view kAdminMetaKey = "canary-admin";

struct ScrapeTarget {
  std::string address;  // host:port
  bool admin = false;   // the admin port, which also tells the applied weights

  bool operator==(const ScrapeTarget&) const = default;
};

// Whether this is host:port or [v6]:port of a host that can be asked ("all addresses" cannot).
[[nodiscard]] bool IsAddress(std::string_view text);

// The admin port where Meta names one, else envoy_prometheus_bind_addr; a host that means "all
// addresses" becomes the instance's own. nullopt without either, or where what is there is no
// host:port.
[[nodiscard]] std::optional<ScrapeTarget> TargetOf(const consul::Instance& proxy);

// node/service-id: what identifies one proxy in a datacenter.
[[nodiscard]] std::string ProxyId(const consul::Instance& proxy);

// `http://…/metrics?usedonly&filter=…`, or the admin port's `/stats/prometheus`.
[[nodiscard]] std::string PageUrl(const ScrapeTarget& target);
[[nodiscard]] std::string RouteDumpUrl(const ScrapeTarget& target);

}  // namespace consul_canary::collect
