// Logging for the shells (never for pure code): one event a line, on stderr, as key=value or JSON.
// An event is logged once per change and not once per poll. Secrets reach no log.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "exporter/base/clock.h"
#include "exporter/base/result.h"

namespace consul_canary::base {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
enum class LogFormat { kLogfmt, kJson };

struct LogField {
  std::string_view key;
  std::string value{};
};

// level: debug, info, warn, error; format: logfmt, json. Unknown words are kInvalid and name the
// right ones.
[[nodiscard]] Result<void> ConfigureLog(std::string_view level, std::string_view format);

// The text of one event, without a line's end: what Log writes, as a value.
[[nodiscard]] std::string FormatLogLine(LogFormat format, WallTime time, LogLevel level,
                                        std::string_view event,
                                        std::initializer_list<LogField> fields);

// time=… level=info event="splitter written" service=api weight=5
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace consul_canary::base
