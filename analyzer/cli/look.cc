#include "analyzer/cli/look.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

namespace consul_canary::cli {
namespace {

constexpr char kEscape = '\x1b';

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool LocaleIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = Environment(name);
    if (value.empty()) continue;
    return value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

const char* CodeOf(Colour colour) {
  switch (colour) {
    case Colour::kGreen:
      return "32";
    case Colour::kYellow:
      return "33";
    case Colour::kRed:
      return "31";
    case Colour::kDim:
      return "2";
    case Colour::kBold:
      return "1";
    case Colour::kNone:
      break;
  }
  return "";
}

bool ContinuesCodePoint(char c) {
  constexpr unsigned char kTopBits = 0xC0;
  constexpr unsigned char kContinuation = 0x80;
  return (static_cast<unsigned char>(c) & kTopBits) == kContinuation;
}

// The end of the code point, or of the escape sequence, that begins at `at`.
std::size_t EndOfSign(std::string_view text, std::size_t at) {
  if (text[at] == kEscape) {
    const std::size_t end = text.find('m', at);
    return end == std::string_view::npos ? text.size() : end + 1;
  }
  ++at;
  while (at < text.size() && ContinuesCodePoint(text[at])) ++at;
  return at;
}

}  // namespace

Look LookOfStdout() {
  Look look;
  winsize size{};
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  look.unicode = terminal && LocaleIsUtf8();
  look.colours = terminal && Environment("NO_COLOR").empty() && Environment("TERM") != "dumb";
  if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    look.columns = size.ws_col;
  }
  return look;
}

std::string Paint(const Look& look, Colour colour, std::string_view text) {
  if (!look.colours || colour == Colour::kNone || text.empty()) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", CodeOf(colour), text);
}

Colour ColourOfPhase(std::string_view phase) {
  if (phase == "succeeded") return Colour::kGreen;
  if (phase == "rolled-back" || phase == "rolling-back") return Colour::kRed;
  if (phase == "paused") return Colour::kYellow;
  return phase == "idle" ? Colour::kDim : Colour::kBold;
}

std::size_t Columns(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t at = 0; at < text.size(); at = EndOfSign(text, at)) {
    if (text[at] != kEscape) ++columns;
  }
  return columns;
}

std::string Padded(std::string_view text, std::size_t columns) {
  const std::size_t taken = Columns(text);
  return std::string(text) + std::string(taken < columns ? columns - taken : 0, ' ');
}

std::string Clipped(std::string_view text, std::size_t columns) {
  std::string clipped;
  bool coloured = false;
  std::size_t taken = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = EndOfSign(text, at);
    const bool escape = text[at] == kEscape;
    if (!escape && taken == columns) break;
    taken += escape ? 0 : 1;
    coloured = coloured || escape;
    clipped += text.substr(at, end - at);
    at = end;
  }
  return coloured ? clipped + "\x1b[0m" : clipped;
}

std::vector<std::string> Wrapped(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines(1);
  std::size_t taken = 0;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    const std::size_t width = Columns(word);
    if (taken > 0 && taken + 1 + width > columns) {
      lines.emplace_back();
      taken = 0;
    }
    if (taken > 0) lines.back() += ' ';
    lines.back() += word;
    taken += width + (taken > 0 ? 1 : 0);
  }
  return lines;
}

}  // namespace consul_canary::cli
