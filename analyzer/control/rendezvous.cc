#include "analyzer/control/rendezvous.h"

#include <algorithm>
#include <utility>

namespace consul_canary::control {
namespace {

// Equal weights, which practically do not occur, are ordered by name.
std::pair<std::uint64_t, std::string_view> PlaceOf(std::string_view rollout,
                                                   std::string_view analyzer) {
  return {RendezvousWeight(rollout, analyzer), analyzer};
}

}  // namespace

// FNV-1a, whose last bytes hardly reach the high bits, and then the finalizer of MurmurHash3.
std::uint64_t RendezvousWeight(std::string_view rollout, std::string_view analyzer) {
  constexpr std::uint64_t kOffset = 0xcbf29ce484222325;
  constexpr std::uint64_t kPrime = 0x100000001b3;
  std::uint64_t hash = kOffset;
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * kPrime; };
  for (const char c : rollout) add(static_cast<unsigned char>(c));
  add(0);
  for (const char c : analyzer) add(static_cast<unsigned char>(c));
  hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33U)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33U);
}

std::string Preferred(std::string_view rollout, const std::set<std::string>& analyzers) {
  std::string_view best;
  for (const std::string& name : analyzers) {
    if (best.empty() || PlaceOf(rollout, name) > PlaceOf(rollout, best)) best = name;
  }
  return std::string(best);
}

std::size_t RankOf(std::string_view analyzer, std::string_view rollout,
                   const std::set<std::string>& analyzers) {
  const auto own = PlaceOf(rollout, analyzer);
  return static_cast<std::size_t>(
      std::count_if(analyzers.begin(), analyzers.end(),
                    [&](const std::string& name) { return PlaceOf(rollout, name) > own; }));
}

}  // namespace consul_canary::control
