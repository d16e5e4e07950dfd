#include "tests/simulation/draws.h"

namespace consul_canary::simulation {

Random RandomOf(std::uint64_t seed, std::uint64_t run) {
  std::seed_seq words{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                      static_cast<std::uint32_t>(run), static_cast<std::uint32_t>(run >> 32)};
  return Random(words);
}

std::int64_t Poisson(double mean, Random& random) {
  return mean > 0 ? std::poisson_distribution<std::int64_t>(mean)(random) : 0;
}

std::int64_t Binomial(std::int64_t n, double chance, Random& random) {
  if (n <= 0 || chance <= 0) return 0;
  if (chance >= 1) return n;
  return std::binomial_distribution<std::int64_t>(n, chance)(random);
}

bool Happens(double chance, Random& random) { return chance > 0 && Uniform(0, 1, random) < chance; }

double Uniform(double least, double greatest, Random& random) {
  return std::uniform_real_distribution<double>(least, greatest)(random);
}

double Exponential(double mean, Random& random) {
  return std::exponential_distribution<double>(1 / mean)(random);
}

double Normal(Random& random) { return std::normal_distribution<double>()(random); }

double Gamma(double shape, Random& random) {
  return std::gamma_distribution<double>(shape, 1 / shape)(random);
}

}  // namespace consul_canary::simulation
