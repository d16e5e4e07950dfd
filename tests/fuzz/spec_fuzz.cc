// Whatever the bytes, a specification is refused with lines in order, or read and written back to
// the same.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "analyzer/config/spec_file.h"

namespace {

void Require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", claim);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consul_canary::config;
  const auto specs = ParseSpecs({reinterpret_cast<const char*>(data), size});
  if (!specs) {
    Require(!specs.error().empty(), "a refusal has a reason");
    int line = 0;
    for (const FieldError& error : specs.error()) {
      Require(error.line >= line || error.line == 0, "errors are in the order of their lines");
      Require(!ToString(error).empty(), "an error can be written");
      line = error.line;
    }
    return 0;
  }
  for (const auto& spec : *specs) {
    const auto from_json = ParseSpec(ToJson(spec));
    Require(from_json && *from_json == spec, "JSON is read back to the same");
    const auto from_yaml = ParseSpec(ToYaml(spec));
    Require(from_yaml && *from_yaml == spec, "YAML is read back to the same");
  }
  return 0;
}
