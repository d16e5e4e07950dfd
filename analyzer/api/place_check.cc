#include "analyzer/api/place_check.h"

#include <fmt/format.h>

#include <string_view>

#include "analyzer/control/await.h"

namespace consul_canary::api {
namespace {

std::string Named(const std::string& place) { return place.empty() ? "default" : place; }

void Settle(std::string_view field, std::string_view variable, const std::string& own,
            std::string& named, std::vector<config::FieldError>& errors) {
  if (named.empty()) {
    named = own;
  } else if (named != own) {
    errors.push_back(
        {0, std::string(field),
         fmt::format("is {}, but this analyzer rules {}; leave it out, or ask an analyzer that was "
                     "started with {}={}",
                     named, own, variable, named)});
  }
}

}  // namespace

std::vector<config::FieldError> SettleNames(const consul::Settings& settings, rollout::Spec& spec) {
  std::vector<config::FieldError> errors;
  Settle("namespace", "CONSUL_NAMESPACE", Named(settings.namespace_name), spec.namespace_name,
         errors);
  Settle("partition", "CONSUL_PARTITION", Named(settings.partition), spec.partition, errors);
  return errors;
}

base::Result<std::vector<config::FieldError>> SettlePlace(base::IoLoop& io, consul::Client& client,
                                                          rollout::Spec& spec) {
  std::vector<config::FieldError> errors = SettleNames(client.settings(), spec);
  if (spec.datacenter.empty()) return errors;
  const std::string service = spec.service;
  const auto own = control::Await<std::string>(
      io, [&client, service](auto reply) { client.ReadDatacenter(service, std::move(reply)); });
  if (!own) return tl::unexpected(own.error());
  if (*own != spec.datacenter) {
    errors.push_back({0, "datacenter",
                      fmt::format("is {}, but this analyzer's Consul is {}; leave it out, or ask "
                                  "an analyzer there",
                                  spec.datacenter, *own)});
  }
  return errors;
}

std::string IdOf(const consul::Settings& settings, const std::string& name) {
  // No service's name has a dot.
  if (name.find('.') != std::string::npos) return name;
  return rollout::RolloutId({.service = name,
                             .namespace_name = settings.namespace_name,
                             .partition = settings.partition});
}

}  // namespace consul_canary::api
