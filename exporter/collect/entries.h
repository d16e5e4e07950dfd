// Configuration entries of one kind by their names, as the mesh's state holds them. Pure.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "exporter/consul/config_entries.h"

namespace consul_canary::collect {

// Those that lie in `place`: others may bear the same names.
template <class T>
std::map<std::string, T> ByName(std::vector<T> entries, const consul::Place& place) {
  std::map<std::string, T> by_name;
  for (T& entry : entries) {
    if (entry.place != place) continue;
    std::string name = entry.name;
    by_name.insert_or_assign(std::move(name), std::move(entry));
  }
  return by_name;
}

// Whether the same is to be asked and read for both: weights and retries decide nothing of that.
template <class T>
bool AreAlike(const std::map<std::string, T>& left, const std::map<std::string, T>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const auto& one, const auto& other) {
                      if constexpr (std::is_same_v<T, consul::Resolver>) {
                        if (one.second.subset_filters != other.second.subset_filters) return false;
                      }
                      return one.first == other.first;
                    });
}

}  // namespace consul_canary::collect
