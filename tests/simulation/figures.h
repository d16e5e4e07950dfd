// Means and shares over many runs, with their standard errors, and what may be promised of them.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

namespace consul_canary::simulation {

struct Figure {
  double mean = 0;
  double standard_error = 0;
  int runs = 0;

  bool operator==(const Figure&) const = default;
};

[[nodiscard]] Figure MeanOf(const std::vector<double>& values);
// Its standard error from the order statistics that lie half of sqrt(n) around the middle.
[[nodiscard]] Figure MedianOf(std::vector<double> values);
[[nodiscard]] Figure ShareOf(int count, int runs);
// a / b of independent figures. Precondition: b's mean is above 0.
[[nodiscard]] Figure RatioOf(const Figure& a, const Figure& b);

template <class Run, class Value>
[[nodiscard]] std::vector<double> ValuesOver(const std::vector<Run>& runs, const Value& value) {
  std::vector<double> values;
  values.reserve(runs.size());
  for (const Run& run : runs) values.push_back(static_cast<double>(std::invoke(value, run)));
  return values;
}

template <class Run, class Value>
[[nodiscard]] Figure MeanOver(const std::vector<Run>& runs, const Value& value) {
  return MeanOf(ValuesOver(runs, value));
}

template <class Run, class Value>
[[nodiscard]] Figure MedianOver(const std::vector<Run>& runs, const Value& value) {
  return MedianOf(ValuesOver(runs, value));
}

template <class Run, class Predicate>
[[nodiscard]] Figure ShareOver(const std::vector<Run>& runs, const Predicate& predicate) {
  int count = 0;
  for (const Run& run : runs) count += std::invoke(predicate, run) ? 1 : 0;
  return ShareOf(count, static_cast<int>(runs.size()));
}

// Whether a share is compatible with a promised one: not above the count that a process with
// exactly that rate would exceed once in ten thousand times.
[[nodiscard]] bool KeepsShare(const Figure& share, double promised);
// The same for a mean, which may lie above what is promised by 3.72 standard errors.
[[nodiscard]] bool KeepsMean(const Figure& mean, double promised);

// Two-sample Wald bound: least expected requests of the canary until a canary that fails at p1 is
// told from a primary at p0 with a false alarm rate of alpha (docs/statistics.md#what-is-measured).
[[nodiscard]] double LeastRequests(double p0, double p1, double weight_ratio, double alpha);

// run(0) … run(runs - 1), on so many threads; the results in that order.
template <class Run>
[[nodiscard]] auto Repeat(int runs, unsigned threads, const Run& run) {
  std::vector<decltype(run(0))> results(static_cast<std::size_t>(runs));
  const auto work = [&](unsigned thread) {
    for (std::size_t i = thread; i < results.size(); i += threads) {
      results[i] = run(static_cast<int>(i));
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    work(0);
  }
  return results;
}

}  // namespace consul_canary::simulation
