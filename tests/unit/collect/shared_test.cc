#include "exporter/collect/shared.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace consul_canary::collect {
namespace {

using Counts = Shared<std::map<std::string, int>>;

TEST(Shared, IsEmptyBeforeAnythingIsPutIn) {
  const Counts counts;
  EXPECT_TRUE(counts.empty());
  EXPECT_EQ(counts.begin(), counts.end());
  EXPECT_EQ(counts, Counts(std::map<std::string, int>()));
}

TEST(Shared, CopiesAreOneObjectUntilOneIsChanged) {
  const Counts first = {{"a", 1}};
  Counts second = first;
  EXPECT_TRUE(first.IsSame(second));
  second["a"] = 2;
  second["b"] = 3;
  EXPECT_FALSE(first.IsSame(second));
  EXPECT_EQ(first.get(), (std::map<std::string, int>{{"a", 1}}));
  EXPECT_EQ(second.get(), (std::map<std::string, int>{{"a", 2}, {"b", 3}}));
}

TEST(Shared, ComparesWhatIsInIt) {
  EXPECT_EQ((Counts{{"a", 1}}), (Counts{{"a", 1}}));
  EXPECT_FALSE((Counts{{"a", 1}}).IsSame(Counts{{"a", 1}}));
  EXPECT_FALSE((Counts{{"a", 1}}) == (Counts{{"a", 2}}));
}

TEST(Shared, WhatIsSharedOutlivesItsOwners) {
  std::shared_ptr<const std::vector<int>> kept;
  {
    const Shared<std::vector<int>> numbers = {1, 2};
    kept = numbers.share();
  }
  EXPECT_EQ(*kept, (std::vector<int>{1, 2}));
}

TEST(SharedOptional, CopiesAreOneObjectUntilOneIsChanged) {
  SharedOptional<std::string> first(std::string("a"));
  SharedOptional<std::string> second = first;
  EXPECT_EQ(first.share(), second.share());
  second->append("b");
  EXPECT_EQ(*first, "a");
  EXPECT_EQ(*second, "ab");
  EXPECT_FALSE(first == second);
  second.reset();
  EXPECT_FALSE(second);
  EXPECT_FALSE(first == second);
  EXPECT_TRUE(second == SharedOptional<std::string>(std::nullopt));
}

}  // namespace
}  // namespace consul_canary::collect
