// The edge between the loop and one piece of its work: what is thrown there, which never should be,
// ends that piece and not the thread.
#pragma once

#include <exception>
#include <string>

namespace consul_canary::control {

// Runs `work`. What it has thrown, in words; empty: nothing.
template <class Work>
[[nodiscard]] std::string Contained(Work work) {
  try {
    work();
    return "";
  } catch (const std::exception& error) {
    const std::string words = error.what();
    return words.empty() ? "an exception without words" : words;
  } catch (...) {
    return "an exception of an unknown kind";
  }
}

}  // namespace consul_canary::control
