#include "exporter/collect/targets.h"

#include <charconv>

#include "exporter/base/io_loop.h"
#include "exporter/envoy/sidecar_page.h"

namespace consul_canary::collect {
namespace {

bool IsPort(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

// What comes from the catalog becomes part of a URL: nothing but a host may stand there.
bool IsHost(std::string_view text) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
  return !text.empty() && text.find_first_not_of(kAllowed) == std::string_view::npos;
}

// host:port, [v6]:port or :port → the same with a real host; nullopt for anything else.
std::optional<std::string> Resolve(std::string_view address, std::string_view own_address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || !IsPort(address.substr(colon + 1))) return std::nullopt;
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || host == "0.0.0.0" || host == "::") host = own_address;
  if (!IsHost(host)) return std::nullopt;
  const bool is_v6 = host.find(':') != std::string_view::npos;
  return (is_v6 ? "[" + std::string(host) + "]" : std::string(host)) +
         std::string(address.substr(colon));
}

}  // namespace

bool IsAddress(std::string_view text) { return Resolve(text, "") == text; }

std::optional<ScrapeTarget> TargetOf(const consul::Instance& proxy) {
  if (const auto admin = proxy.meta.find(std::string(kAdminMetaKey)); admin != proxy.meta.end()) {
    if (std::optional<std::string> address = Resolve(admin->second, proxy.address)) {
      return ScrapeTarget{*std::move(address), /*admin=*/true};
    }
  }
  if (std::optional<std::string> address = Resolve(proxy.prometheus_bind_addr, proxy.address)) {
    return ScrapeTarget{*std::move(address), /*admin=*/false};
  }
  return std::nullopt;
}

std::string ProxyId(const consul::Instance& proxy) { return proxy.node + "/" + proxy.id; }

std::string PageUrl(const ScrapeTarget& target) {
  static const std::string query = "?usedonly&filter=" + base::UrlEncode(envoy::SidecarFilter());
  return "http://" + target.address + (target.admin ? "/stats/prometheus" : "/metrics") + query;
}

std::string RouteDumpUrl(const ScrapeTarget& target) {
  return "http://" + target.address + "/config_dump?resource=dynamic_route_configs";
}

}  // namespace consul_canary::collect
