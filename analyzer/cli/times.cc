#include "analyzer/cli/times.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <map>

namespace consul_canary::cli {

std::string UtcText(std::time_t seconds_since_1970) {
  constexpr int kFirstYear = 1900;
  std::tm utc{};
  gmtime_r(&seconds_since_1970, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + kFirstYear,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

std::optional<std::chrono::seconds> ParseDuration(const std::string& text) {
  int number = 0;
  char unit = 's';
  char rest = 0;
  const int read = std::sscanf(text.c_str(), "%9d%c%c", &number, &unit, &rest);
  if (read < 1 || read > 2 || number < 0) return std::nullopt;
  const std::map<char, int> units{{'s', 1}, {'m', 60}, {'h', 3600}};
  const auto found = units.find(unit);
  if (found == units.end()) return std::nullopt;
  constexpr std::chrono::hours kLongest{24 * 365};
  const std::chrono::seconds duration{std::int64_t{number} * found->second};
  if (duration > kLongest) return std::nullopt;
  return duration;
}

}  // namespace consul_canary::cli
