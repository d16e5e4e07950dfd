#include "exporter/consul/go_duration.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <system_error>
#include <utility>

namespace consul_canary::consul {

std::optional<double> ParseGoNanoseconds(std::string_view text) {
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"ns", 1}, {"us", 1e3}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  if (text.empty()) return std::nullopt;
  double nanoseconds = 0;
  while (!text.empty()) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::string_view name = text.substr(0, text.find_first_of("0123456789."));
    const auto* const unit =
        std::ranges::find(kUnits, name, &std::pair<std::string_view, double>::first);
    if (unit == std::end(kUnits)) return std::nullopt;
    nanoseconds += number * unit->second;
    text.remove_prefix(name.size());
  }
  return nanoseconds;
}

}  // namespace consul_canary::consul
