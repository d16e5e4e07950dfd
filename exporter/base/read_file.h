// Files that the administrator names: configuration, tokens. Small ones, read whole.
#pragma once

#include <cstddef>
#include <string>

#include "exporter/base/result.h"

namespace consul_canary::base {

// kUnavailable: it is not there, may not be read or is a folder or pipe, with the system's reason;
// kInvalid: it is larger than `max_bytes`. Both name the file.
[[nodiscard]] Result<std::string> ReadWholeFile(const std::string& path, std::size_t max_bytes);

}  // namespace consul_canary::base
