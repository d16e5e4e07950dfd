// docs/states.md shows what Decide() does. CONSUL_CANARY_STATES_WRITE=1 writes it there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/states/table.h"

namespace consul_canary::states {
namespace {

constexpr std::string_view kBegin = "<!-- generated: begin -->\n";
constexpr std::string_view kEnd = "<!-- generated: end -->";

std::string Read(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(StatesDocument, ShowsWhatDecideDoes) {
  const std::string path = CONSUL_CANARY_SOURCE_DIR "/docs/states.md";
  const std::string text = Read(path);
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos && begin < end) << path;
  const std::size_t table_begin = begin + kBegin.size();
  const std::string table = "\n" + TableOfStates() + "\n";
  if (std::getenv("CONSUL_CANARY_STATES_WRITE") != nullptr) {
    std::ofstream(path) << text.substr(0, table_begin) << table << text.substr(end);
    return;
  }
  EXPECT_EQ(text.substr(table_begin, end - table_begin), table)
      << "docs/states.md is not what the code does: run this test with "
         "CONSUL_CANARY_STATES_WRITE=1";
}

}  // namespace
}  // namespace consul_canary::states
