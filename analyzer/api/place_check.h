// Where a rollout's service lives. An analyzer rules those of its own namespace, partition and
// datacenter, and refuses others by name.
#pragma once

#include <string>
#include <vector>

#include "analyzer/rollout/spec.h"
#include "exporter/base/io_loop.h"
#include "exporter/config/document.h"
#include "exporter/consul/client.h"

namespace consul_canary::api {

// Fills the namespace and partition of the analyzer in where the specification names none. Not
// empty: which of the places that it names is another one, and what to do.
[[nodiscard]] std::vector<config::FieldError> SettleNames(const consul::Settings& settings,
                                                          rollout::Spec& spec);

// The same, and the datacenter, which Consul is asked for where the specification names one.
[[nodiscard]] base::Result<std::vector<config::FieldError>> SettlePlace(base::IoLoop& io,
                                                                        consul::Client& client,
                                                                        rollout::Spec& spec);

// The rollout that a request means: a service's bare name is the one of the analyzer's own place.
[[nodiscard]] std::string IdOf(const consul::Settings& settings, const std::string& name);

}  // namespace consul_canary::api
