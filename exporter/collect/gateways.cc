#include "exporter/collect/gateways.h"

#include <nlohmann/json.hpp>

#include "exporter/base/io_loop.h"

namespace consul_canary::collect {

std::string GatewaysPath() {
  return "/v1/catalog/services?filter=" +
         base::UrlEncode(R"(ServiceKind == "ingress-gateway" or ServiceKind == "api-gateway")");
}

std::string GatewayServicesPath(std::string_view gateway) {
  return "/v1/catalog/gateway-services/" + base::UrlEncode(gateway);
}

base::Result<std::vector<std::string>> ParseGatewayServices(std::string_view json) {
  const auto list = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> services;
  if (list.is_null()) return services;
  if (!list.is_array()) {
    return base::Fail(base::ErrorCode::kInvalid, "catalog/gateway-services: not a list");
  }
  for (const auto& link : list) {
    const auto service = link.is_object() ? link.find("Service") : link.end();
    if (service == link.end() || !service->is_object()) continue;
    const auto name = service->find("Name");
    if (name != service->end() && name->is_string()) services.push_back(name->get<std::string>());
  }
  return services;
}

}  // namespace consul_canary::collect
