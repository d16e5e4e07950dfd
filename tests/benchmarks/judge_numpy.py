"""The update of harm by one tick for 10,000 rollouts of nine outcomes each, in numpy: the formula of docs/statistics.md
over arrays, on one core. Prints the median of the CPU seconds that it takes. The peer of judge_benchmark's last line."""

import statistics
import time

import numpy as np

ROLLOUTS, OUTCOMES, ODDS, TICKS = 10_000, 9, 12, 25


def tick(log_sums, primary, failed_primary, canary, failed_canary, p, odds, dispersion, log_rest):
    q = p * odds / (p * odds + 1 - p)
    theta = (primary * p + canary * q) / (primary + canary)
    block = (failed_primary * np.log(p / theta) + (primary - failed_primary) * np.log1p((theta - p) / (1 - theta))
             + failed_canary * np.log(q / theta) + (canary - failed_canary) * np.log1p((theta - q) / (1 - theta)))
    log_sums += block / dispersion
    greatest = log_sums.max(axis=2)
    log_sum = greatest + np.log(np.exp(log_sums - greatest[:, :, None]).sum(axis=2))
    return np.logaddexp(log_sum, log_rest)


def main():
    random = np.random.default_rng(1)
    shape = (ROLLOUTS, OUTCOMES, 1)
    odds = np.exp(np.linspace(np.log(1.25), np.log(128), ODDS))
    weights = odds**-0.25
    log_sums = np.log(0.75) + np.log(weights / weights.sum()) + np.zeros((ROLLOUTS, OUTCOMES, ODDS))
    p = (30 + 0.5) / (30000 + 1) + np.zeros(shape)
    seconds = []
    for _ in range(TICKS):
        primary, canary = random.poisson(200, shape), 1 + random.poisson(2, shape)
        failed_primary, failed_canary = random.binomial(primary, 0.001), random.binomial(canary, 0.001)
        started = time.process_time()
        tick(log_sums, primary, failed_primary, canary, failed_canary, p, odds, 1.5, np.log(0.25))
        seconds.append(time.process_time() - started)
    print(statistics.median(seconds))


main()
