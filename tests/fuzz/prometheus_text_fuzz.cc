// Anything may come from a sidecar's port: the parser must neither crash nor invent samples, in
// either format, and a reader that wants some names must find the same lines of them.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "exporter/envoy/prometheus_text.h"

namespace {

using namespace consul_canary::envoy;

void Require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", claim);
  std::abort();
}

bool IsWanted(std::string_view name) { return name.size() % 2 == 0; }

void RequireSense(std::string_view text, std::size_t lines, TextFormat format) {
  std::size_t reported = 0;
  std::size_t wanted = 0;
  std::size_t last = 0;
  ParsePrometheusText(
      text,
      [&](const Sample& sample) {
        ++reported;
        wanted += IsWanted(sample.name) ? 1 : 0;
        Require(!sample.name.empty(), "a sample has a name");
        Require(sample.line > last && sample.line <= lines, "samples come in order");
        for (const Label& label : sample.labels) {
          Require(sample.Find(label.name) == label.value, "no label name stands twice");
          Require(label.text.data() >= text.data() &&
                      label.text.data() + label.text.size() <= text.data() + text.size(),
                  "a label stands on the page");
        }
        last = sample.line;
      },
      [&](const BadLine& bad) {
        ++reported;
        Require(!bad.reason.empty() && bad.line <= lines, "a bad line has a reason");
      },
      format);
  Require(reported <= lines, "a line is one thing");

  std::size_t found = 0;
  SeriesLines series(text, format, IsWanted);
  SampleParser parser(format);
  for (SeriesLine line; series.Next(line);) found += parser.Parse(line).empty() ? 1 : 0;
  Require(found == wanted, "what is wanted is found");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t lines = 1;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  RequireSense(text, lines, TextFormat::kPrometheus);
  RequireSense(text, lines, TextFormat::kOpenMetrics);
  return 0;
}
