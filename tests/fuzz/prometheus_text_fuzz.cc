// Anything may come from a sidecar's port: the reader must neither crash nor invent samples.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "exporter/envoy/prometheus_text.h"
#include "exporter/envoy/sidecar_page.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using consul_canary::envoy::BadLine;
  using consul_canary::envoy::Sample;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t lines = 1;
  for (const char c : text) lines += c == '\n' ? 1 : 0;
  std::size_t reported = 0;
  consul_canary::envoy::ParsePrometheusText(
      text,
      [&](const Sample& sample) {
        ++reported;
        if (sample.name.empty() || sample.line == 0 || sample.line > lines) std::abort();
      },
      [&](const BadLine& bad) {
        ++reported;
        if (bad.reason.empty() || bad.line == 0 || bad.line > lines) std::abort();
      });
  if (reported > lines) std::abort();
  const consul_canary::envoy::SidecarPage page = consul_canary::envoy::ReadSidecarPage(text);
  if (page.bad_lines.size() > page.bad_line_count) std::abort();
  return 0;
}
