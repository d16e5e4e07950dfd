// Which bytes the names of series and labels are made of. For the .cc of this folder that read
// pages.
#pragma once

#include <cstddef>
#include <string_view>

namespace consul_canary::envoy {

// Of each byte: whether it may begin a name, and whether it may go on with one.
struct NameBytes {
  bool begins[256] = {};
  bool goes_on[256] = {};

  constexpr NameBytes() {
    for (const char c :
         std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:")) {
      begins[static_cast<unsigned char>(c)] = goes_on[static_cast<unsigned char>(c)] = true;
    }
    for (char c = '0'; c <= '9'; ++c) goes_on[static_cast<unsigned char>(c)] = true;
  }
};
inline constexpr NameBytes kNameBytes;

inline bool IsNameStart(char c) { return kNameBytes.begins[static_cast<unsigned char>(c)]; }

inline bool IsNameChar(char c) { return kNameBytes.goes_on[static_cast<unsigned char>(c)]; }

inline bool IsBlank(char c) { return c == ' ' || c == '\t'; }

inline std::size_t NameLength(std::string_view text) {
  if (text.empty() || !IsNameStart(text.front())) return 0;
  std::size_t length = 1;
  while (length < text.size() && IsNameChar(text[length])) ++length;
  return length;
}

}  // namespace consul_canary::envoy
