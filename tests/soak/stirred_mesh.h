// A mesh in a real Consul, with sidecars of the farm: a few services that stay, and others that
// come and go, with their sidecars, as fast as Consul takes it. Names come again: what the exporter
// remembers of them for a while is so the same after each storm. Everything is registered at a node
// without an agent, whose anti-entropy would take it away.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/soak/sidecar_farm.h"
#include "tests/support/consul_agent.h"

namespace consul_canary::soak {

inline constexpr std::size_t kPermanentServices = 3;
inline constexpr std::size_t kServices = 33;  // those that come and go follow the permanent ones
inline constexpr std::size_t kCallers = 8;    // of a service at most; a permanent one has four
inline constexpr std::size_t kPermanentCallers = 4;
inline constexpr std::size_t kInstances = 2;  // the first is the primary's, the second the canary's
inline constexpr std::size_t kPermanentSidecars =
    kPermanentServices * (kPermanentCallers + kInstances);

class StirredMesh {
 public:
  // Both must outlive this. A call that Consul refuses for 30 s fails the test.
  StirredMesh(const testing::ConsulAgent& consul, SidecarFarm& farm, std::uint64_t seed);

  // Writes the permanent services.
  void Begin();
  // Something at random; only what needs no Consul unless it `answers`.
  void Stir(bool answers);
  // A service that comes, with sidecars that behave in every bad way.
  void BehaveBadly();
  // Only the permanent services are left, and all their sidecars are sound.
  void Calm();
  // The permanent sidecars count from 0.
  void RestartPermanent();

  [[nodiscard]] static std::string NameOf(std::size_t service);
  // What callers of this permanent service have been answered, by subset.
  [[nodiscard]] std::map<std::string, churn::EnvoyCluster> TruthOf(std::size_t service) const;

  struct Counts {
    std::uint64_t services = 0;
    std::uint64_t sidecars = 0;  // that came
    std::uint64_t changes = 0;   // of conduct, weights, health; and restarts
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }
  [[nodiscard]] std::size_t sidecars() const { return sidecars_.size(); }  // that are there

 private:
  using Json = std::string;

  void Put(const std::string& path, const Json& body) const;
  void WriteWeights(std::size_t service, unsigned canary) const;
  void AddService(std::size_t service);
  void RemoveService(std::size_t service);
  void AddSidecar(std::size_t service, std::size_t place);
  void RemoveSidecar(std::size_t service, std::size_t place);
  void WriteSidecar(std::size_t number, bool passing) const;
  void WriteInstance(std::size_t number) const;
  void Behave(std::size_t number, Conduct conduct);
  void ToggleService();
  void ToggleCaller();
  void MakeSound(std::size_t number);
  [[nodiscard]] std::size_t AnyService();
  [[nodiscard]] std::size_t AnySidecar();
  [[nodiscard]] std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }

  const testing::ConsulAgent& consul_;
  SidecarFarm& farm_;
  std::mt19937_64 random_;
  std::array<bool, kServices> is_there_{};
  std::map<std::size_t, Conduct> sidecars_;  // by number, that are there
  Counts counts_;
};

}  // namespace consul_canary::soak
