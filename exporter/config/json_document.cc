#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "exporter/config/document.h"

namespace consul_canary::config {
namespace {

using Json = nlohmann::json;

// Where the parser is: it tells its handler no lines, so the characters are counted as it takes
// them.
struct Position {
  int line = 1;
  bool after_newline =
      false;  // the last character taken was a newline, whose line is still the old one
};

class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}

  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (position_->after_newline) ++position_->line;
    position_->after_newline = *at_ == '\n';
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  Position* position_;  // owned by ReadJson
};

// "[json.exception.parse_error.101] parse error at line 1, column 2: …" → "…"
std::string WithoutPrefix(const std::string& message) {
  const std::size_t column = message.find("column ");
  const std::size_t colon = column == std::string::npos ? column : message.find(": ", column);
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

class Events {
 public:
  explicit Events(const Position& position) : position_(position) {}

  [[nodiscard]] Node Take() { return builder_.Take(); }
  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool null() {
    builder_.Null(position_.line);
    return true;
  }
  bool boolean(bool value) { return Plain(value ? "true" : "false"); }
  bool number_integer(Json::number_integer_t value) { return Plain(std::to_string(value)); }
  bool number_unsigned(Json::number_unsigned_t value) { return Plain(std::to_string(value)); }
  bool number_float(Json::number_float_t, const std::string& text) { return Plain(text); }
  bool string(std::string& value) {
    builder_.Scalar(position_.line, value, true);
    return true;
  }
  bool binary(Json::binary_t&) { return false; }  // does not occur in text
  bool start_object(std::size_t) {
    builder_.BeginMap(position_.line);
    return true;
  }
  bool key(std::string& value) { return string(value); }
  bool end_object() { return End(); }
  bool start_array(std::size_t) {
    builder_.BeginList(position_.line);
    return true;
  }
  bool end_array() { return End(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) {
    problem_ = WithoutPrefix(error.what());
    return false;
  }

 private:
  bool Plain(std::string text) {
    builder_.Scalar(position_.line, std::move(text), false);
    return true;
  }
  bool End() {
    builder_.End();
    return true;
  }

  const Position& position_;
  TreeBuilder builder_;
  std::string problem_;
};

}  // namespace

Documents ReadJson(std::string_view text) {
  Position position;
  Events events(position);
  const CountingIterator begin(text.data(), &position);
  const CountingIterator end(text.data() + text.size(), &position);
  Documents documents;
  try {
    if (Json::sax_parse(begin, end, &events)) {
      documents.roots.push_back(events.Take());
    } else {
      documents.error = FieldError{position.line, "", "is not JSON: " + events.problem()};
    }
  } catch (const DocumentError& error) {
    documents.error = FieldError{error.line, "", error.problem};
  }
  return documents;
}

}  // namespace consul_canary::config
