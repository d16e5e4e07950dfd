// spdlog carries the lines; their text is made here, so that both formats quote in one place.
#include "exporter/base/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <iterator>
#include <memory>

#include "exporter/base/utf8.h"

namespace consul_canary::base {
namespace {

std::atomic<LogFormat> current_format{LogFormat::kLogfmt};

spdlog::logger& Logger() {
  // Never destroyed: threads may log while the process ends.
  static auto& logger = *[] {
    auto* made =
        new spdlog::logger("consul-canary", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::info);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return logger;
}

std::string_view Name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      break;
  }
  return "error";
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

// A quoted string that is right for JSON and for logfmt; bytes that are no UTF-8 become U+FFFD.
void AppendQuoted(std::string& line, std::string_view text) {
  line += '"';
  while (!text.empty()) {
    const std::size_t length = Utf8SequenceLength(text);
    const char c = text[0];
    if (length == 0) {
      line += kUtf8Replacement;
    } else if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(line), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      line += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  line += '"';
}

bool NeedsQuotes(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || c == '"' || c == '=' || c == '\\') return true;
  }
  return false;
}

class LineWriter {
 public:
  explicit LineWriter(LogFormat format) : json_(format == LogFormat::kJson) {}

  void Add(std::string_view key, std::string_view value) {
    if (!line_.empty()) line_ += json_ ? ',' : ' ';
    if (json_) {
      AppendQuoted(line_, key);
      line_ += ':';
    } else {
      line_ += key;
      line_ += '=';
    }
    if (json_ || NeedsQuotes(value)) {
      AppendQuoted(line_, value);
    } else {
      line_ += value;
    }
  }

  [[nodiscard]] std::string Finish() const { return json_ ? "{" + line_ + "}" : line_; }

 private:
  bool json_;
  std::string line_;
};

}  // namespace

std::string FormatLogLine(LogFormat format, WallTime time, LogLevel level, std::string_view event,
                          std::initializer_list<LogField> fields) {
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  const auto whole = std::chrono::floor<std::chrono::seconds>(since_epoch);
  LineWriter line(format);
  line.Add("time", fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                               fmt::gmtime(static_cast<std::time_t>(whole.count())),
                               (since_epoch - whole).count()));
  line.Add("level", Name(level));
  line.Add("event", event);
  for (const LogField& field : fields) line.Add(field.key, field.value);
  return line.Finish();
}

Result<void> ConfigureLog(std::string_view level, std::string_view format) {
  constexpr std::array kLevels{LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn,
                               LogLevel::kError};
  const auto* found = std::find_if(kLevels.begin(), kLevels.end(),
                                   [&](LogLevel each) { return Name(each) == level; });
  if (found == kLevels.end()) {
    return Fail(ErrorCode::kInvalid,
                fmt::format("log level \"{}\": must be debug, info, warn or error", level));
  }
  if (format != "logfmt" && format != "json") {
    return Fail(ErrorCode::kInvalid,
                fmt::format("log format \"{}\": must be logfmt or json", format));
  }
  current_format = format == "json" ? LogFormat::kJson : LogFormat::kLogfmt;
  Logger().set_level(ToSpdlog(*found));
  return {};
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(ToSpdlog(level))) return;
  logger.log(ToSpdlog(level), "{}",
             FormatLogLine(current_format, std::chrono::system_clock::now(), level, event, fields));
}

}  // namespace consul_canary::base
