#include "exporter/collect/known_proxies.h"

#include <algorithm>
#include <unordered_set>

#include "exporter/collect/gateways.h"
#include "exporter/consul/intentions.h"

namespace consul_canary::collect {
namespace {

using consul::Instance;

const std::vector<Instance>& InstancesOf(const MeshState& state, const std::string& name) {
  static const std::vector<Instance> kNobody;
  const auto it = state.health.find(consul::Client::HealthPath(name));
  return it == state.health.end() || !it->second.value ? kNobody : *it->second.value;
}

// Visits what the state knows, and remembers which targets of the file have been met.
class Walk {
 public:
  Walk(const MeshState& state, const std::set<std::string>& shown,
       const std::function<void(const KnownProxy&)>& visit)
      : state_(state), shown_(shown), visit_(visit), permitted_(Permitted(state)) {
    shown_names_.reserve(shown.size());
    for (const std::string& service : shown) {
      shown_names_.insert(service);
      shown_is_open_ = shown_is_open_ || permitted_.open_destinations.contains(service);
    }
  }

  void Sidecars() {
    if (!state_.proxy_services.value) return;
    for (const std::string& name : *state_.proxy_services.value) {
      for (const Instance& instance : InstancesOf(state_, name)) {
        KnownProxy proxy{.name = name, .instance = instance, .calls = {}};
        Add(instance.upstreams, proxy);
        if (instance.transparent) AddIntended(proxy);
        Finish(proxy);
      }
    }
  }

  void Gateways() {
    if (!state_.gateways.value) return;
    for (const std::string& name : *state_.gateways.value) {
      const auto links = state_.gateway_services.find(GatewayServicesPath(name));
      if (links == state_.gateway_services.end() || !links->second.value) continue;
      for (const Instance& instance : InstancesOf(state_, name)) {
        KnownProxy proxy{.name = name, .instance = instance, .calls = {}};
        Add(*links->second.value, proxy);
        Finish(proxy);
      }
    }
  }

  void FromFile() {
    for (const auto& [address, target] : state_.static_targets) {
      if (met_.contains(address)) continue;
      const Instance instance = ToInstance(target);
      KnownProxy proxy{.name = {}, .instance = instance, .from_file = &target, .calls = {}};
      Add(target.calls, proxy);
      Visit(proxy);
    }
  }

 private:
  static consul::PermittedCalls Permitted(const MeshState& state) {
    static const std::vector<consul::Intention> kNone;
    // Where Consul does not tell, whoever is not forbidden may call: its page will tell.
    const bool untold = state.intentions.error || state.allowed_by_default.error;
    return consul::PermittedBy(state.intentions.value ? *state.intentions.value : kNone,
                               state.allowed_by_default.value.value_or(untold));
  }

  void AddIntended(KnownProxy& proxy) const {
    const std::string& source = proxy.instance.destination_service;
    if (const auto it = permitted_.exact.find(source); it != permitted_.exact.end()) {
      Add(it->second, proxy);
    }
    proxy.may_call_more = !shown_.empty() && (permitted_.open || shown_is_open_ ||
                                              permitted_.open_sources.contains(source));
  }

  void Finish(KnownProxy& proxy) {
    if (!state_.static_targets.empty()) {
      if (const std::optional<ScrapeTarget> target = TargetOf(proxy.instance)) {
        const auto it = state_.static_targets.find(target->address);
        if (it != state_.static_targets.end()) {
          proxy.from_file = &it->second;
          Add(it->second.calls, proxy);
          met_.insert(it->first);
        }
      }
    }
    Visit(proxy);
  }

  template <class Names>
  void Add(const Names& names, KnownProxy& proxy) const {
    for (const std::string& name : names) {
      if (shown_names_.contains(name)) proxy.calls.push_back(name);
    }
  }

  void Visit(KnownProxy& proxy) const {
    std::sort(proxy.calls.begin(), proxy.calls.end());
    proxy.calls.erase(std::unique(proxy.calls.begin(), proxy.calls.end()), proxy.calls.end());
    visit_(proxy);
  }

  const MeshState& state_;
  const std::set<std::string>& shown_;
  const std::function<void(const KnownProxy&)>& visit_;
  const consul::PermittedCalls permitted_;
  std::unordered_set<std::string_view> shown_names_;
  bool shown_is_open_ = false;  // any service may call one of the shown ones
  std::set<std::string_view> met_;
};

}  // namespace

void ForEachProxy(const MeshState& state, const std::set<std::string>& shown,
                  const std::function<void(const KnownProxy&)>& visit) {
  Walk walk(state, shown, visit);
  walk.Sidecars();
  walk.Gateways();
  walk.FromFile();
}

std::optional<ScrapeTarget> TargetOf(const KnownProxy& proxy) {
  if (proxy.from_file != nullptr) {
    return ScrapeTarget{proxy.from_file->address, proxy.from_file->admin};
  }
  return TargetOf(proxy.instance);
}

}  // namespace consul_canary::collect
