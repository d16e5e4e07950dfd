// What a text is told, as its owner reads it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analyzer/config/spec_file.h"

namespace consul_canary::config {

// Examples and what became of them go to the file that SPEC_EXAMPLES names: docs/spec.schema.json
// is held against the same ones (tests/oracles/spec_schema_test.py).
inline void Show(const std::string& text, const std::string& verdict) {
  const char* path = std::getenv("SPEC_EXAMPLES");
  if (path == nullptr) return;
  const nlohmann::json line = {text, verdict};
  std::ofstream(path, std::ios::app)
      << line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << "\n";
}

// What ParseSpecs says, one line an error; "ok" where it accepts.
inline std::string Verdict(const std::string& text) {
  const auto specs = ParseSpecs(text);
  std::string lines;
  if (!specs) {
    for (const FieldError& error : specs.error()) lines += ToString(error) + "\n";
  }
  Show(text, specs ? "ok" : lines);
  return specs ? "ok" : lines;
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
