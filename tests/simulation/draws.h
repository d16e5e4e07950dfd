// Random numbers of the simulation. Seeded by table, row and run, so that a figure depends neither
// on the number of threads nor on which other tables are made.
#pragma once

#include <cstdint>
#include <random>

namespace consul_canary::simulation {

using Random = std::mt19937_64;

// An own sequence for each run of each row.
[[nodiscard]] Random RandomOf(std::uint64_t seed, std::uint64_t run);

// How many events happen where `mean` are expected; 0 for a mean of 0 or less.
[[nodiscard]] std::int64_t Poisson(double mean, Random& random);

// How many of n trials succeed at this chance, which is clipped to 0..1.
[[nodiscard]] std::int64_t Binomial(std::int64_t n, double chance, Random& random);

[[nodiscard]] bool Happens(double chance, Random& random);
[[nodiscard]] double Uniform(double least, double greatest, Random& random);
[[nodiscard]] double Exponential(double mean, Random& random);
[[nodiscard]] double Normal(Random& random);
// Gamma-distributed around 1 with this shape: the smaller, the burstier.
[[nodiscard]] double Gamma(double shape, Random& random);

}  // namespace consul_canary::simulation
