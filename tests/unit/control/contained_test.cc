// Whatever is thrown at the loop's edges comes back as words.
#include "analyzer/control/contained.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace consul_canary::control {
namespace {

TEST(Contained, TellsWhatWasThrown) {
  bool ran = false;
  EXPECT_EQ(Contained([&] { ran = true; }), "");
  EXPECT_TRUE(ran);
  EXPECT_EQ(Contained([] { throw std::runtime_error("no such day"); }), "no such day");
  EXPECT_EQ(Contained([] { throw std::runtime_error(""); }), "an exception without words");
  EXPECT_EQ(Contained([] { throw 7; }), "an exception of an unknown kind");
}

}  // namespace
}  // namespace consul_canary::control
