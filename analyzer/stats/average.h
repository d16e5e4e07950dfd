// Several metrics, one decision: a weighted average of e-processes is an e-process under any
// dependence (Vovk and Wang, E-values: calibration, combination and applications, Annals of
// Statistics 2021), and e-BH says which of them stand out (Wang and Ramdas, False discovery rate
// control with e-values, JRSSB 2022).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace consul_canary::stats {

// ln of the average of exp(log_values) with these weights (> 0; they are normalised). Precondition:
// as many weights as values, at least one. With one value it is that value, exactly.
[[nodiscard]] double LogAverage(std::span<const double> log_values,
                                std::span<const double> weights);

// Indices, ascending, of the values that e-BH rejects at `level` (0..1): the k greatest, for the
// greatest k with k-th greatest >= ln(K / (level k)).
[[nodiscard]] std::vector<std::size_t> RejectedByEbh(std::span<const double> log_values,
                                                     double level);

}  // namespace consul_canary::stats
