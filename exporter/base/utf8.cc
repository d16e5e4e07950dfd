#include "exporter/base/utf8.h"

namespace consul_canary::base {
namespace {

// The first continuation byte is where overlong forms, surrogates and what lies above U+10FFFF
// differ from the rest.
bool IsSecondByte(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return (second & 0xC0u) == 0x80u;
  }
}

std::size_t LengthByFirst(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

}  // namespace

std::size_t Utf8SequenceLength(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = LengthByFirst(first);
  if (length <= 1) return length;
  if (text.size() < length || !IsSecondByte(first, static_cast<unsigned char>(text[1]))) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u) return 0;
  }
  return length;
}

}  // namespace consul_canary::base
