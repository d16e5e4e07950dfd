// What one question to Consul was answered with, and what news make of that.
#pragma once

#include <optional>
#include <utility>

#include "exporter/base/result.h"

namespace consul_canary::collect {

// The last good answer to one question, and the error since, if there is one.
template <class T>
struct Answer {
  std::optional<T> value;
  std::optional<base::Error> error;
};

// Keeps the last value when `news` is an error. False when nothing is new.
template <class T>
bool Take(Answer<T>& answer, base::Result<T> news) {
  if (!news) {
    if (answer.error == news.error()) return false;
    answer.error = news.error();
    return true;
  }
  if (!answer.error && answer.value == *news) return false;
  answer.error.reset();
  answer.value = *std::move(news);
  return true;
}

}  // namespace consul_canary::collect
