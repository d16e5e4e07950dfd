// What is UTF-8 and what is not: logs and metrics must be, whatever comes from outside. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace consul_canary::base {

// Written in place of each byte that is no UTF-8: U+FFFD.
inline constexpr std::string_view kUtf8Replacement = "\xEF\xBF\xBD";

// Bytes of the sequence at the start of `text`, which must not be empty; 0 when it is none.
[[nodiscard]] std::size_t Utf8SequenceLength(std::string_view text);

}  // namespace consul_canary::base
