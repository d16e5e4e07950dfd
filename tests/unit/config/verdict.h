// What a text is told, as its owner reads it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {

// What ParseSpecs says, one line an error; "ok" where it accepts.
inline std::string Verdict(const std::string& text) {
  const auto specs = ParseSpecs(text);
  if (specs) return "ok";
  std::string lines;
  for (const FieldError& error : specs.error()) lines += ToString(error) + "\n";
  return lines;
}

struct BadDocument {
  const char* text;
  const char* errors;
};

inline void ExpectErrors(const std::vector<BadDocument>& documents) {
  for (const BadDocument& document : documents) {
    EXPECT_EQ(Verdict(document.text), document.errors) << document.text;
  }
}

}  // namespace consul_canary::config
