#include "analyzer/stats/margin.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace consul_canary::stats {
namespace {

// What is to be solved in s, with shares of the requests in place of their numbers:
//     primary_share (s - p) / (s (1 - s)) + canary_share ratio (t - q) / (t (1 - t)) = 0
// The left side is the slope of a convex function; times s (1 - s) t (1 - t) it is a cubic with one
// root in the domain, where it changes from negative to positive.
struct Projection {
  double p = 0;
  double q = 0;
  double ratio = 1;
  double absolute = 0;
  double primary_share = 0;
  double canary_share = 0;

  [[nodiscard]] double T(double s) const { return ratio * s + absolute; }
};

struct Bracket {
  double low = 0;
  double high = 1;
};

// The root lies between p and the s whose t is q, and where both s and t are rates.
Bracket BracketOf(const Projection& at) {
  const double s_of_q = (at.q - at.absolute) / at.ratio;
  return {std::max({std::min(at.p, s_of_q), 0.0, -at.absolute / at.ratio}),
          std::min({std::max(at.p, s_of_q), 1.0, (1.0 - at.absolute) / at.ratio})};
}

// With 1 - s and 1 - t held at a guess the equation is a quadratic, whose only root above 0 has a
// closed form, without cancellation: near enough that two or three steps of Newton's method follow.
double FirstGuess(const Projection& at, const Bracket& bracket) {
  const double middle = bracket.low + (bracket.high - bracket.low) / 2;
  const double a = at.primary_share * (1.0 - at.T(middle));
  const double b = at.canary_share * at.ratio * (1.0 - middle);
  const double square = at.ratio * (a + b);
  const double linear = a * (at.absolute - at.ratio * at.p) + b * (at.absolute - at.q);
  const double constant = -a * at.p * at.absolute;
  const double root = std::sqrt(std::max(0.0, linear * linear - 4.0 * square * constant));
  const double guess =
      linear > 0.0 ? -2.0 * constant / (linear + root) : (root - linear) / (2.0 * square);
  return guess > bracket.low && guess < bracket.high ? guess : middle;
}

// Newton's method, and halving where it would leave the bracket.
double Solve(const Projection& at) {
  Bracket bracket = BracketOf(at);
  double s = FirstGuess(at, bracket);
  for (int i = 0; i < 200 && bracket.low < s && s < bracket.high; ++i) {
    const double t = at.T(s);
    const double s_spread = s * (1.0 - s);
    const double t_spread = t * (1.0 - t);
    const double value = at.primary_share * (s - at.p) * t_spread +
                         at.canary_share * at.ratio * (t - at.q) * s_spread;
    const double slope =
        at.primary_share * (t_spread + (s - at.p) * at.ratio * (1.0 - 2.0 * t)) +
        at.canary_share * at.ratio * (at.ratio * s_spread + (t - at.q) * (1.0 - 2.0 * s));
    (value < 0.0 ? bracket.low : bracket.high) = s;
    double next = s - value / slope;
    // Also false where the slope is 0.
    const bool inside = next > bracket.low && next < bracket.high;
    if (!inside) next = bracket.low + (bracket.high - bracket.low) / 2;
    const double moved = std::abs(next - s);
    s = next;
    // Newton's error is then the square of this.
    if (inside && moved < 1e-9 * std::min(s, 1.0 - t)) break;
    if (moved == 0.0) break;
  }
  return s;
}

}  // namespace

double CanaryLimit(const Margin& margin, double primary_rate) {
  return margin.ratio * primary_rate + margin.absolute;
}

NullPoint ProjectOntoMargin(double p, double q, const Margin& margin, double primary_requests,
                            double canary_requests) {
  assert(p > 0.0 && q > 0.0);
  assert(primary_requests > 0.0 && canary_requests > 0.0);
  // t would lose its digits where it is a small difference: the margin seen from the canary has
  // none.
  if (margin.absolute < 0.0) {
    const Margin reverse{1.0 / margin.ratio, -margin.absolute / margin.ratio};
    const NullPoint point = ProjectOntoMargin(q, p, reverse, canary_requests, primary_requests);
    return {point.canary, point.primary};
  }
  const double below_one = std::nextafter(1.0, 0.0);
  const double requests = primary_requests + canary_requests;
  const Projection projection{
      std::min(p, below_one), std::min(q, below_one),      margin.ratio,
      margin.absolute,        primary_requests / requests, canary_requests / requests};
  const double s = Solve(projection);
  // Rounding must not put a rate on 1, where a success would be impossible.
  return {std::min(s, below_one), std::min(CanaryLimit(margin, s), below_one)};
}

}  // namespace consul_canary::stats
