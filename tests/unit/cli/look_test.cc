// Text for terminals: its width, its colours, and where it is cut.
#include "analyzer/cli/look.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace consul_canary::cli {
namespace {

constexpr Look kColours{.colours = true};

TEST(Paint, ColoursOnlyWhereTheReaderHasThem) {
  EXPECT_EQ(Paint({}, Colour::kRed, "rolled-back"), "rolled-back");
  EXPECT_EQ(Paint(kColours, Colour::kRed, "rolled-back"), "\x1b[31mrolled-back\x1b[0m");
  EXPECT_EQ(Paint(kColours, Colour::kNone, "idle"), "idle");
  EXPECT_EQ(Paint(kColours, Colour::kRed, ""), "");
}

TEST(LookOfStdout, HasNeitherColoursNorMarksWhereOutputIsNoTerminal) {
  EXPECT_EQ(LookOfStdout(), Look{});  // a test's output is a pipe or a file
}

TEST(Columns, CountCodePointsAndNoEscapeSequences) {
  EXPECT_EQ(Columns("25%"), 3U);
  EXPECT_EQ(Columns("├─ ✔"), 4U);
  EXPECT_EQ(Columns("\x1b[31mred\x1b[0m"), 3U);
  EXPECT_EQ(Padded("✔", 3), "✔  ");
}

TEST(Clipped, CutsBetweenCodePointsAndEndsColours) {
  EXPECT_EQ(Clipped("├─ ✔ 10%", 4), "├─ ✔");
  EXPECT_EQ(Clipped("short", 10), "short");
  EXPECT_EQ(Clipped("\x1b[31mrolled\x1b[0m", 4), "\x1b[31mroll\x1b[0m");
}

TEST(Wrapped, BreaksAtSpaces) {
  EXPECT_EQ(Wrapped("one two three", 8), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(Wrapped("a-very-long-word b", 5), (std::vector<std::string>{"a-very-long-word", "b"}));
  EXPECT_EQ(Wrapped("", 5), (std::vector<std::string>{""}));
}

}  // namespace
}  // namespace consul_canary::cli
