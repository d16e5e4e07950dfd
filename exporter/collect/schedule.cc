#include "exporter/collect/schedule.h"

#include <algorithm>
#include <cstdint>

namespace consul_canary::collect {

using base::milliseconds;

double PhaseOf(std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, and then mixed: ids often differ at their end
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 33u)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33u)) * 0xc4ceb9fe1a85ec53;
  hash ^= hash >> 33u;
  return static_cast<double>(hash >> 11u) * 0x1p-53;
}

milliseconds BackOff(int failures) {
  constexpr milliseconds kLongest{10'000};
  if (failures > 4) return kLongest;
  return milliseconds{1000} * (1 << std::max(failures - 1, 0));
}

}  // namespace consul_canary::collect
