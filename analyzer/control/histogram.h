// How many of the times that were measured were at most how long, as Prometheus' histograms count.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>

namespace consul_canary::control {

class Histogram {
 public:
  explicit Histogram(std::initializer_list<double> bounds_seconds) {
    for (const double bound : bounds_seconds) buckets_[bound] = 0;
  }

  void Observe(double seconds) {
    for (auto it = buckets_.lower_bound(seconds); it != buckets_.end(); ++it) ++it->second;
    sum_seconds_ += seconds;
    ++count_;
  }

  // Bound in seconds → times at or below it; what was longer than all bounds is in count() alone.
  [[nodiscard]] const std::map<double, std::uint64_t>& buckets() const { return buckets_; }
  [[nodiscard]] double sum_seconds() const { return sum_seconds_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::map<double, std::uint64_t> buckets_;
  double sum_seconds_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace consul_canary::control
