// How text is dressed: colours and marks where the reader is a terminal that has them, plain
// letters elsewhere. Pure, but for LookOfStdout().
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace consul_canary::cli {

struct Look {
  bool colours = false;
  bool unicode = false;  // else ASCII alone
  std::size_t columns = 100;

  bool operator==(const Look&) const = default;
};

enum class Colour { kNone, kGreen, kYellow, kRed, kDim, kBold };

// Colours on a terminal alone, and not where NO_COLOR is set to anything or TERM is "dumb"; unicode
// where the locale's encoding is UTF-8.
[[nodiscard]] Look LookOfStdout();

[[nodiscard]] std::string Paint(const Look& look, Colour colour, std::string_view text);
// "rolled-back" is red, and so on.
[[nodiscard]] Colour ColourOfPhase(std::string_view phase);

// How many columns a text takes: one for each code point, none for escape sequences.
[[nodiscard]] std::size_t Columns(std::string_view text);
// The text filled with spaces up to so many columns.
[[nodiscard]] std::string Padded(std::string_view text, std::size_t columns);
// The text cut after so many columns, colours ended.
[[nodiscard]] std::string Clipped(std::string_view text, std::size_t columns);
// The text broken at spaces; a word that is longer than a line has one of its own. Never empty.
[[nodiscard]] std::vector<std::string> Wrapped(std::string_view text, std::size_t columns);

}  // namespace consul_canary::cli
