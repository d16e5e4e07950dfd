#include "analyzer/stats/hypergeometric.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>

namespace consul_canary::stats {
namespace {

constexpr int kMostTerms = 4096;  // each way from the peak
constexpr double kNegligible = 1e-18;

// Not std::lgamma, which writes a global that all threads share.
double LogFactorial(std::int64_t n) {
  int sign = 0;
  return ::lgamma_r(static_cast<double>(n) + 1.0, &sign);
}

double LogChoose(std::int64_t n, std::int64_t k) {
  return LogFactorial(n) - LogFactorial(k) - LogFactorial(n - k);
}

// The whole draws' sum: term(x) = P(X = x) exp(x tilt), each times what the fraction is worth then.
class Draws {
 public:
  Draws(const Counts& pool, double draws, double log_failed, double log_succeeded)
      : failed_(pool.failures),
        succeeded_(pool.completed - pool.failures),
        whole_(static_cast<std::int64_t>(std::floor(draws))),
        fraction_(draws - std::floor(draws)),
        log_succeeded_(log_succeeded),
        tilt_(log_failed - log_succeeded),
        tilt_factor_(std::exp(tilt_)),
        fraction_worth_(std::expm1(fraction_ * tilt_)),
        least_(std::max<std::int64_t>(0, whole_ - succeeded_)),
        greatest_(std::min(whole_, failed_)) {}

  [[nodiscard]] double LogExpectation() const {
    const std::int64_t peak = Peak();
    double sum = FractionAt(peak);
    double term = 1.0;
    const std::int64_t last = std::min(greatest_, peak + kMostTerms);
    for (std::int64_t x = peak; x < last && term > kNegligible * sum; ++x) {
      term *= Ratio(x);
      sum += term * FractionAt(x + 1);
    }
    term = 1.0;
    const std::int64_t first = std::max(least_, peak - kMostTerms);
    for (std::int64_t x = peak; x > first && term > kNegligible * sum; --x) {
      term /= Ratio(x - 1);
      sum += term * FractionAt(x - 1);
    }
    const double log_chance = LogChoose(failed_, peak) + LogChoose(succeeded_, whole_ - peak) -
                              LogChoose(failed_ + succeeded_, whole_);
    return log_chance + static_cast<double>(peak) * tilt_ + std::log(sum) +
           (static_cast<double>(whole_) + fraction_) * log_succeeded_;
  }

 private:
  // term(x + 1) / term(x): falls as x grows.
  [[nodiscard]] double Ratio(std::int64_t x) const {
    const auto up = static_cast<double>(failed_ - x) * static_cast<double>(whole_ - x);
    const auto down = static_cast<double>(x + 1) * static_cast<double>(succeeded_ - whole_ + x + 1);
    return up / down * tilt_factor_;
  }

  [[nodiscard]] std::int64_t Peak() const {
    std::int64_t low = least_;
    std::int64_t high = greatest_;
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (Ratio(middle) > 1.0) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  // One more draw's factor to the power of the fraction, over that of a success, where x of the
  // whole draws failed.
  [[nodiscard]] double FractionAt(std::int64_t x) const {
    if (fraction_ == 0.0) return 1.0;
    const std::int64_t left = failed_ + succeeded_ - whole_;
    const double fails = static_cast<double>(failed_ - x) / static_cast<double>(left);
    return 1.0 + fails * fraction_worth_;
  }

  const std::int64_t failed_;
  const std::int64_t succeeded_;
  const std::int64_t whole_;
  const double fraction_;
  const double log_succeeded_;
  const double tilt_;
  const double tilt_factor_;
  const double fraction_worth_;
  const std::int64_t least_;
  const std::int64_t greatest_;
};

}  // namespace

double LogExpectedDraws(const Counts& pool, double draws, double log_failed, double log_succeeded) {
  assert(pool.failures >= 0 && pool.failures <= pool.completed);
  assert(draws >= 0.0 && log_failed <= log_succeeded);
  const auto size = static_cast<double>(pool.completed);
  if (draws >= size) {
    const auto failed = static_cast<double>(pool.failures) + (draws - size);
    return failed * log_failed +
           static_cast<double>(pool.completed - pool.failures) * log_succeeded;
  }
  if (pool.failures == 0) return draws * log_succeeded;
  return Draws(pool, draws, log_failed, log_succeeded).LogExpectation();
}

}  // namespace consul_canary::stats
