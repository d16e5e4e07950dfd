#include "exporter/config/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace consul_canary::config {
namespace {

// Insertions, deletions, substitutions.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, substituted}));
    }
  }
  return row.back();
}

}  // namespace

std::string Nearest(std::string_view word, const std::vector<std::string>& known) {
  if (known.empty()) return "";
  const auto distance = [&word](std::string_view name) { return EditDistance(word, name); };
  const auto nearest = std::ranges::min_element(known, {}, distance);
  constexpr std::size_t kFew = 2;
  constexpr std::size_t kThird = 3;
  const std::size_t most = std::max(kFew, nearest->size() / kThird);
  const std::size_t away = distance(*nearest);
  return away <= most && away < nearest->size() && away < word.size() ? *nearest : "";
}

}  // namespace consul_canary::config
