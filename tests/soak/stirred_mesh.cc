#include "tests/soak/stirred_mesh.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "tests/support/wait.h"

namespace consul_canary::soak {
namespace {

using nlohmann::json;

constexpr std::size_t kPlaces = kCallers + kInstances;
constexpr std::size_t kFirstInstance = kCallers;  // its place
constexpr const char* kNode = "far";
constexpr const char* kPrimary = "primary";
constexpr const char* kCanary = "canary";

bool IsPermanent(std::size_t service) { return service < kPermanentServices; }

std::size_t NumberOf(std::size_t service, std::size_t place) { return service * kPlaces + place; }

bool IsInstance(std::size_t number) { return number % kPlaces >= kFirstInstance; }

// The application beside the sidecar.
std::string ApplicationOf(std::size_t number) {
  const std::string service = StirredMesh::NameOf(number / kPlaces);
  return IsInstance(number) ? service : fmt::format("{}-caller-{}", service, number % kPlaces);
}

std::string IdOf(std::size_t number) {
  return fmt::format("{}-{}", ApplicationOf(number), number % kPlaces);
}

std::string VersionOf(std::size_t number) {
  return number % kPlaces == kFirstInstance + 1 ? "v2" : "v1";
}

// A permanent caller calls one of those that come and go, too.
std::vector<std::size_t> CalledBy(std::size_t number) {
  const std::size_t service = number / kPlaces;
  if (IsInstance(number)) return {};
  if (!IsPermanent(service)) return {service};
  return {service, service + kPermanentServices};
}

CountingSidecar NewSidecar(std::size_t number) {
  CountingSidecar sidecar;
  const std::string application = ApplicationOf(number);
  const auto add = [&](const envoy::Destination& to) {
    churn::EnvoyCluster& cluster = sidecar.clusters[to];
    cluster.labels = churn::DestinationLabels(application, to);
    cluster.is_always_shown = true;
  };
  for (const std::size_t service : CalledBy(number)) {
    for (const char* subset : {kPrimary, kCanary}) add({StirredMesh::NameOf(service), subset});
  }
  if (IsInstance(number)) {
    sidecar.local_app.emplace();
    sidecar.local_app->labels = churn::LocalAppLabels(application);
  }
  return sidecar;
}

json Registration(json service, std::string_view id, bool passing) {
  return {{"Node", kNode},
          {"Address", "127.0.0.1"},
          {"SkipNodeUpdate", true},
          {"Check",
           {{"CheckID", fmt::format("check-{}", id)},
            {"Name", "check"},
            {"Status", passing ? "passing" : "critical"},
            {"ServiceID", id}}},
          {"Service", std::move(service)}};
}

}  // namespace

StirredMesh::StirredMesh(const testing::ConsulAgent& consul, SidecarFarm& farm, std::uint64_t seed)
    : consul_(consul), farm_(farm), random_(seed) {}

std::string StirredMesh::NameOf(std::size_t service) {
  return fmt::format("{}-{}", IsPermanent(service) ? "steady" : "passing", service);
}

void StirredMesh::Begin() {
  for (std::size_t service = 0; service < kPermanentServices; ++service) AddService(service);
}

void StirredMesh::Stir(bool answers) {
  const std::uint64_t what = answers ? Below(10) : Below(4);
  if (what < 3) return Behave(AnySidecar(), static_cast<Conduct>(Below(kConducts)));
  if (what == 3) {
    const std::size_t number = AnySidecar();
    if (IsPermanent(number / kPlaces)) return;  // RestartPermanent()
    ++counts_.changes;
    return farm_.Restart(number);
  }
  if (what < 6) return ToggleService();
  if (what < 8) return ToggleCaller();
  ++counts_.changes;
  if (what == 8) return WriteWeights(AnyService(), static_cast<unsigned>(Below(101)));
  WriteSidecar(AnySidecar(), Below(2) == 0);
}

void StirredMesh::BehaveBadly() {
  std::size_t service = kPermanentServices;
  for (int conduct = 0; conduct < kConducts; ++service) {
    if (!is_there_.at(service)) AddService(service);
    for (std::size_t place = 0; place < kPlaces && conduct < kConducts; ++place) {
      const std::size_t number = NumberOf(service, place);
      if (!sidecars_.contains(number)) AddSidecar(service, place);
      Behave(number, static_cast<Conduct>(conduct++));
    }
  }
}

void StirredMesh::Calm() {
  for (std::size_t service = 0; service < kServices; ++service) {
    if (is_there_.at(service) && !IsPermanent(service)) RemoveService(service);
  }
  for (const auto& [number, conduct] : sidecars_) MakeSound(number);
  for (std::size_t service = 0; service < kPermanentServices; ++service) WriteWeights(service, 10);
}

// One that is back after it refused connections passes its checks again, which the exporter sees.
void StirredMesh::MakeSound(std::size_t number) {
  if (sidecars_.at(number) == Conduct::kRefuse) WriteSidecar(number, false);
  Behave(number, Conduct::kSound);
  WriteSidecar(number, true);
}

void StirredMesh::RestartPermanent() {
  for (const auto& [number, conduct] : sidecars_) farm_.Restart(number);
}

std::map<std::string, churn::EnvoyCluster> StirredMesh::TruthOf(std::size_t service) const {
  std::map<std::string, churn::EnvoyCluster> sums;
  for (std::size_t place = 0; place < kPermanentCallers; ++place) {
    for (const auto& [to, cluster] : farm_.TruthOf(NumberOf(service, place)).clusters) {
      if (to.service != NameOf(service)) continue;
      churn::EnvoyCluster& sum = sums[to.subset];
      sum.completed += cluster.completed;
      sum.retries += cluster.retries;
      for (const auto& [code, count] : cluster.responses) sum.responses[code] += count;
      for (const auto& [code, count] : cluster.retried_responses) {
        sum.retried_responses[code] += count;
      }
      sum.times += cluster.times;
    }
  }
  return sums;
}

// --- What comes and goes

void StirredMesh::ToggleService() {
  const std::size_t service = kPermanentServices + Below(kServices - kPermanentServices);
  is_there_.at(service) ? RemoveService(service) : AddService(service);
}

void StirredMesh::ToggleCaller() {
  const std::size_t service = AnyService();
  if (IsPermanent(service)) return;
  const std::size_t place = Below(kCallers);
  sidecars_.contains(NumberOf(service, place)) ? RemoveSidecar(service, place)
                                               : AddSidecar(service, place);
}

void StirredMesh::AddService(std::size_t service) {
  const std::string name = NameOf(service);
  Put("/v1/config",
      json{{"Kind", "service-defaults"}, {"Name", name}, {"Protocol", "http"}}.dump());
  Put("/v1/config", json{{"Kind", "service-resolver"},
                         {"Name", name},
                         {"Subsets",
                          {{kPrimary, {{"Filter", "Service.Meta.version == v1"}}},
                           {kCanary, {{"Filter", "Service.Meta.version == v2"}}}}}}
                        .dump());
  WriteWeights(service, 10);
  for (std::size_t place = 0; place < kInstances; ++place) {
    AddSidecar(service, kFirstInstance + place);
  }
  const std::size_t callers = IsPermanent(service) ? kPermanentCallers : 1 + Below(kCallers);
  for (std::size_t place = 0; place < callers; ++place) AddSidecar(service, place);
  is_there_.at(service) = true;
  ++counts_.services;
}

// The splitter first, or Consul would refuse to take away what it needs.
void StirredMesh::RemoveService(std::size_t service) {
  const std::string name = NameOf(service);
  for (const char* kind : {"service-splitter", "service-resolver", "service-defaults"}) {
    const std::string path = fmt::format("/v1/config/{}/{}", kind, name);
    EXPECT_TRUE(
        testing::WaitUntil([&] { return consul_.Delete(path).has_value(); }, testing::seconds(30)))
        << path;
  }
  for (std::size_t place = 0; place < kPlaces; ++place) {
    if (sidecars_.contains(NumberOf(service, place))) RemoveSidecar(service, place);
  }
  is_there_.at(service) = false;
}

void StirredMesh::AddSidecar(std::size_t service, std::size_t place) {
  const std::size_t number = NumberOf(service, place);
  farm_.Open(number, NewSidecar(number));
  sidecars_[number] = Conduct::kSound;
  if (IsInstance(number)) WriteInstance(number);
  WriteSidecar(number, true);
  ++counts_.sidecars;
}

// Some end before Consul knows, some after.
void StirredMesh::RemoveSidecar(std::size_t service, std::size_t place) {
  const std::size_t number = NumberOf(service, place);
  const bool ends_first = Below(2) == 0;
  if (ends_first) farm_.Close(number);
  const std::string id = IdOf(number);
  for (const char* of : {"", "-sidecar-proxy"}) {
    if (*of == 0 && !IsInstance(number)) continue;
    Put("/v1/catalog/deregister", json{{"Node", kNode}, {"ServiceID", id + of}}.dump());
  }
  if (!ends_first) farm_.Close(number);
  sidecars_.erase(number);
}

void StirredMesh::Behave(std::size_t number, Conduct conduct) {
  farm_.Behave(number, conduct);
  sidecars_.at(number) = conduct;
  ++counts_.changes;
}

std::size_t StirredMesh::AnyService() {
  std::size_t service = Below(kServices);
  while (!is_there_.at(service)) service = Below(kServices);
  return service;
}

std::size_t StirredMesh::AnySidecar() {
  return std::next(sidecars_.begin(), static_cast<std::ptrdiff_t>(Below(sidecars_.size())))->first;
}

// --- Consul

void StirredMesh::Put(const std::string& path, const Json& body) const {
  std::optional<base::Result<std::string>> last;
  const auto is_taken = [&] { return last.emplace(consul_.Put(path, body)).has_value(); };
  EXPECT_TRUE(testing::WaitUntil(is_taken, testing::seconds(30))) << (*last).error().message;
}

void StirredMesh::WriteWeights(std::size_t service, unsigned canary) const {
  Put("/v1/config", json{{"Kind", "service-splitter"},
                         {"Name", NameOf(service)},
                         {"Splits",
                          {{{"Weight", 100 - canary}, {"ServiceSubset", kPrimary}},
                           {{"Weight", canary}, {"ServiceSubset", kCanary}}}}}
                        .dump());
}

void StirredMesh::WriteInstance(std::size_t number) const {
  const std::string id = IdOf(number);
  const json service = {{"ID", id},
                        {"Service", ApplicationOf(number)},
                        {"Port", 8080},
                        {"Address", SidecarFarm::HostOf(number)},
                        {"Meta", {{"version", VersionOf(number)}}}};
  Put("/v1/catalog/register", Registration(service, id, true).dump());
}

// Every second one is read at its admin port.
void StirredMesh::WriteSidecar(std::size_t number, bool passing) const {
  const std::string id = IdOf(number) + "-sidecar-proxy";
  json upstreams = json::array();
  for (const std::size_t called : CalledBy(number)) {
    upstreams.push_back(
        {{"DestinationName", NameOf(called)}, {"LocalBindPort", 9000 + upstreams.size()}});
  }
  json service = {{"Kind", "connect-proxy"},
                  {"ID", id},
                  {"Service", ApplicationOf(number) + "-sidecar-proxy"},
                  {"Port", 21000},
                  {"Address", SidecarFarm::HostOf(number)},
                  {"Meta", {{"version", VersionOf(number)}}},
                  {"Proxy",
                   {{"DestinationServiceName", ApplicationOf(number)},
                    {"DestinationServiceID", IdOf(number)},
                    {"Upstreams", upstreams}}}};
  if (number % 2 == 0) {
    service["Meta"]["canary-admin"] = farm_.AddressOf(number);
  } else {
    service["Proxy"]["Config"]["envoy_prometheus_bind_addr"] = farm_.AddressOf(number);
  }
  Put("/v1/catalog/register", Registration(service, id, passing).dump());
}

}  // namespace consul_canary::soak
