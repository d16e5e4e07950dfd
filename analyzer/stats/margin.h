// A margin between the canary's failure rate and the primary's, and the projection onto it.
#pragma once

namespace consul_canary::stats {

// The canary is within the margin while its rate < ratio * primary's rate + absolute. For a proof
// of safety: ratio > 0, 0 < absolute < 1, since a ratio alone cannot be proven where nothing fails;
// with a ratio below 1 (the canary must be better) there is no evidence while ratio * primary's
// rate
// + absolute is not above the primary's rate. For harm: ratio >= 1, 0 <= absolute < 1; a ratio of 1
// and an absolute of 0 is "any worse".
struct Margin {
  double ratio = 1.0;
  double absolute = 0.01;

  bool operator==(const Margin&) const = default;
};

// ratio * primary_rate + absolute.
[[nodiscard]] double CanaryLimit(const Margin& margin, double primary_rate);

// The point (s, t = ratio * s + absolute) of the margin that is nearest in KL to the alternative
// (p, q), seen with these numbers of requests (Turner and Grünwald, arXiv 2203.09785), whichever
// side of the margin it lies on. Precondition: 0 < p, q < 1, both numbers > 0.
struct NullPoint {
  double primary = 0;  // s
  double canary = 0;   // t
};
[[nodiscard]] NullPoint ProjectOntoMargin(double p, double q, const Margin& margin,
                                          double primary_requests, double canary_requests);

}  // namespace consul_canary::stats
