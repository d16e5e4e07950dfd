// Whatever the bytes, a recording is refused with a line, or read; what was read is replayed
// without a crash, and written and read back to the same.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "analyzer/cli/replay.h"
#include "analyzer/config/recording.h"

namespace {

void Require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", claim);
  std::abort();
}

// As replayed: what was forgotten is not written again.
std::string Written(const consul_canary::config::Recording& recording) {
  std::string text = RecordingHeader(recording);
  for (const auto& tick : recording.ticks) text += RecordingLine(tick);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consul_canary;
  const auto recording = config::ParseRecording({reinterpret_cast<const char*>(data), size});
  if (!recording) {
    Require(recording.error().message.starts_with("line "), "a refusal names its line");
    return 0;
  }
  const auto ticks = cli::Replay(*recording);
  Require(ticks.size() == recording->ticks.size(), "each line is replayed");
  Require(cli::ReplayJson(ticks) == cli::ReplayJson(cli::Replay(*recording)), "always to the same");
  (void)cli::ReplayTable(ticks);
  const auto again = config::ParseRecording(Written(*recording));
  // Defaults are written out, which may bring the sum of all counts over its limit.
  if (!again && again.error().message.ends_with("come to more than 1e17")) return 0;
  Require(again.has_value(), "what is written can be read");
  Require(Written(*again) == Written(*recording), "and is written to the same");
  return 0;
}
