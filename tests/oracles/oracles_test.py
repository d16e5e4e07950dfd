"""Our statistics against other people's: scipy, statsmodels, savvi, and R's and confseq's formulas.

Our numbers come from the program stats_oracle (environment variable STATS_ORACLE), which answers questions in JSON.
Cases are drawn with fixed seeds. Run by tests/oracles/run.
"""

import itertools
import json
import math
import os
import subprocess
import sys
import unittest
from unittest.mock import MagicMock

import numpy as np
from scipy import optimize, special, stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

# savvi imports these for its intervals, plots and tables, none of which is used here.
for unused in ("cvxpy", "matplotlib", "matplotlib.pyplot", "py_markdown_table", "py_markdown_table.markdown_table"):
    sys.modules[unused] = MagicMock()
from savvi.multinomial import Multinomial  # noqa: E402  (after what it imports)

ODDS_RATIOS = np.geomspace(1.25, 128, 12)
LOG_WEIGHTS = np.log(ODDS_RATIOS**-0.25 / np.sum(ODDS_RATIOS**-0.25))


def ask(questions):
    """The answers to all questions, in order."""
    text = "".join(json.dumps(question) + "\n" for question in questions)
    answers = subprocess.run([os.environ["STATS_ORACLE"]], input=text, capture_output=True, text=True)
    if answers.returncode != 0:
        raise AssertionError(answers.stderr)
    return [json.loads(line) for line in answers.stdout.splitlines()]


def ask_one(what, **question):
    return ask([{"ask": what, **question}])[0]


def draw_ticks(rng, count, primary_rate, canary_rate, most=2000):
    ticks = []
    for _ in range(count):
        primary, canary = (int(n) for n in rng.integers(10, most, 2))
        ticks.append([primary, int(rng.binomial(primary, primary_rate)), canary, int(rng.binomial(canary, canary_rate))])
    return ticks


def log_likelihood(n, x, rate):
    return stats.binom.logpmf(x, n, rate)


def log_ratio(tick, p, q, s, t):
    """ln of the probability of a tick under rates (p, q) over that under (s, t)."""
    primary, primary_failures, canary, canary_failures = tick
    return (log_likelihood(primary, primary_failures, p) - log_likelihood(primary, primary_failures, s)
            + log_likelihood(canary, canary_failures, q) - log_likelihood(canary, canary_failures, t))


def raise_odds(rate, ratio):
    return special.expit(special.logit(rate) + np.log(ratio))


def project(p, q, ratio, absolute, primary, canary):
    """The nearest point of the margin, as the root of its equation by Brent's method."""
    def slope(s):
        t = ratio * s + absolute
        return primary * (s - p) * t * (1 - t) + canary * ratio * (t - q) * s * (1 - s)
    reached = (q - absolute) / ratio
    low = max(min(p, reached), 0, -absolute / ratio)
    high = min(max(p, reached), 1, (1 - absolute) / ratio)
    s = optimize.brentq(slope, low, high, xtol=1e-300, rtol=4 * np.finfo(float).eps, maxiter=1000)
    return s, ratio * s + absolute


def restarted(gains, log_weights, planned, elapsed):
    """ln M after each tick, the sum over all restarts kept apart: gains[tick][alternative]."""
    gains, results, starts = np.asarray(gains), [], {}
    for tick in range(len(gains)):
        for epoch in range(len(starts), int(tick * elapsed // 60) + 1):
            starts[epoch] = tick
        mass = {0: .75}
        for epoch in starts:
            if epoch > 0:
                beyond = epoch - max(0, planned - 1)
                later = .25 if planned <= 1 else .05
                mass[epoch] = later / (beyond * (beyond + 1)) if beyond > 0 else .2 / (planned - 1)
        terms = [math.log(mass[epoch]) + weight + gains[start:tick + 1, k].sum()
                 for epoch, start in starts.items() if mass[epoch] > 0 for k, weight in enumerate(log_weights)]
        rest = 1 - sum(mass[epoch] for epoch in starts)
        if rest > 1e-12:
            terms.append(math.log(rest))
        results.append(special.logsumexp(terms))
    return results


class Case(unittest.TestCase):
    def assert_close(self, ours, theirs, relative=1e-9, absolute=1e-10):
        np.testing.assert_allclose(ours, theirs, rtol=relative, atol=absolute)


class BlockTest(Case):
    def test_agrees_with_scipys_binomial_probabilities(self):
        rng = np.random.default_rng(1)
        questions, expected = [], []
        for _ in range(300):
            p, q = 10 ** rng.uniform(-5, -.05, 2)
            tick = draw_ticks(rng, 1, p, q)[0]
            theta = (tick[0] * p + tick[2] * q) / (tick[0] + tick[2])
            questions.append({"ask": "block", "ticks": [tick], "p": p, "q": q})
            expected.append(log_ratio(tick, p, q, theta, theta))
        self.assert_close(ask(questions), expected, relative=1e-8, absolute=1e-8)


class ConditionalTest(Case):
    """savvi's odds are our likelihood, averaged over its Dirichlet prior for the canary's share of the failures. Gauss
    and Jacobi's quadrature averages it exactly: the likelihood is a polynomial in that share."""

    def test_agrees_with_savvi_under_its_prior(self):
        rng = np.random.default_rng(2)
        for _ in range(30):
            primary, canary = (int(n) for n in rng.integers(12, 1000, 2))
            share = canary / (primary + canary)
            failures = [int(x) for x in rng.integers(0, 12, 2)]
            k = float(rng.integers(2, 200))
            theirs = Multinomial(.05, np.array([1 - share, share]), k)
            theirs.update(np.array(failures))
            nodes, weights = special.roots_jacobi(30, k * (1 - share) - 1, k * share - 1)
            of_canary = (1 + nodes) / 2
            odds_ratios = of_canary / (1 - of_canary) / (share / (1 - share))
            logs = ask_one("conditional", ticks=[[primary, failures[0], canary, failures[1]]],
                           odds_ratios=list(odds_ratios))
            self.assert_close(np.sum(weights * np.exp(logs)) / np.sum(weights), theirs.odds, relative=1e-8)


class ShareTest(Case):
    def test_likelihood_agrees_with_savvis_sample_ratio_test_under_its_prior(self):
        rng = np.random.default_rng(3)
        for _ in range(30):
            null, k = float(rng.uniform(.02, .98)), float(rng.integers(2, 200))
            requests = int(rng.integers(1, 50))
            of_canary = int(rng.binomial(requests, rng.uniform()))
            theirs = Multinomial(.05, np.array([1 - null, null]), k)
            theirs.update(np.array([requests - of_canary, of_canary]))
            nodes, weights = special.roots_jacobi(40, k * (1 - null) - 1, k * null - 1)
            logs = ask_one("likelihood_ratio", counts=[requests, of_canary], null=null, rates=list((1 + nodes) / 2))
            self.assert_close(np.sum(weights * np.exp(logs)) / np.sum(weights), theirs.odds, relative=1e-8)

    def test_agrees_with_scipys_binomial_probabilities(self):
        rng = np.random.default_rng(4)
        ratios = np.geomspace(1.25, 128, 8)
        for weight in (.05, .2, .5):
            counts = [[int(n), int(rng.binomial(n, weight * 1.2))] for n in rng.integers(1, 300, 20)]
            low, high = .9 * weight - .005, 1.1 * weight + .005
            above, below, expected = np.zeros(8), np.zeros(8), []
            for n, x in counts:
                above += log_likelihood(n, x, raise_odds(high, ratios)) - log_likelihood(n, x, high)
                below += log_likelihood(n, x, raise_odds(low, 1 / ratios)) - log_likelihood(n, x, low)
                expected.append(max(special.logsumexp(above), special.logsumexp(below)) - math.log(8))
            self.assert_close(ask_one("share", weight=weight, counts=counts), expected)


class MixtureTest(Case):
    def test_likelihood_agrees_with_confseqs_beta_binomial_mixture(self):
        """Howard et al.'s mixture for a bounded mean, as confseq (uniform_boundaries.h) has it: its wheel does not
        build with today's tools; beta_binomial_log_mixture(10, 100, 100, .2, .8) is -.07134019. A sum of 10 above the
        mean at a variance of 100 is 135 failures of 625 at the rate .2."""
        g, h, v_opt, alpha_opt = .2, .8, 100, .05
        bound = 2 * math.log(1 / (2 * alpha_opt))
        r = v_opt / (bound + math.log(1 + bound)) - g * h
        nodes, weights = np.polynomial.legendre.leggauss(400)
        rates = g + h * (1 + nodes) / 2  # of failures: one-sided, so above the null alone
        weights *= stats.beta.pdf(rates, r / h, r / g)
        logs = np.array(ask_one("likelihood_ratio", counts=[625, 135], null=g, rates=list(rates)))
        self.assert_close(np.log(np.sum(weights * np.exp(logs)) / np.sum(weights)), -.07134019, absolute=5e-9)


class HarmTest(Case):
    def gains(self, ticks, history, ratio, absolute, phi):
        completed, failures = history
        gains = []
        for tick in ticks:
            p = (failures + .5) / (completed + 1)
            row = []
            for q in raise_odds(ratio * p + absolute, ODDS_RATIOS):
                if (ratio, absolute) == (1, 0):
                    s = t = (tick[0] * p + tick[2] * q) / (tick[0] + tick[2])
                else:
                    s, t = project(p, q, ratio, absolute, tick[0], tick[2])
                row.append(log_ratio(tick, p, q, s, t) / phi)
            gains.append(row)
            completed, failures = completed + tick[0], failures + tick[1]
        return gains

    def test_agrees_with_scipy_over_restarts_tolerances_and_overdispersion(self):
        rng = np.random.default_rng(5)
        for ratio, absolute in ((1, 0), (1, .01), (2, 0), (1.5, .02)):
            for planned, elapsed, phi in ((0, 25, 1), (4, 17, 2.5), (2, 60, 1)):
                ticks = draw_ticks(rng, 20, .01, .03)
                expected = restarted(self.gains(ticks, (5000, 40), ratio, absolute, phi), LOG_WEIGHTS, planned, elapsed)
                ours = ask_one("harm", history=[5000, 40], ticks=ticks, ratio=ratio, absolute=absolute, phi=phi,
                               planned_epochs=planned, elapsed=elapsed)
                self.assert_close(ours, expected, absolute=1e-8)


class SafeTest(Case):
    def test_agrees_with_scipy(self):
        rng = np.random.default_rng(6)
        for ratio, absolute in ((1, .01), (1.5, .005), (.8, .05)):
            ticks = draw_ticks(rng, 20, .01, .012)
            completed, failures, sums, expected = 5000, 40, np.zeros(3), []
            for tick in ticks:
                p = (failures + .5) / (completed + 1)
                for i, part in enumerate((0, .25, .5)):
                    q = p + part * (ratio * p + absolute - p)
                    sums[i] += log_ratio(tick, p, q, *project(p, q, ratio, absolute, tick[0], tick[2]))
                expected.append(special.logsumexp(sums, b=[.5, .3, .2]))
                completed, failures = completed + tick[0], failures + tick[1]
            self.assert_close(ask_one("safe", history=[5000, 40], ticks=ticks, ratio=ratio, absolute=absolute), expected,
                              absolute=1e-8)


class ProjectionTest(Case):
    def test_is_where_scipys_minimiser_finds_the_least_divergence(self):
        rng = np.random.default_rng(7)
        for _ in range(100):
            p, q = rng.uniform(.001, .999, 2)
            ratio, absolute = float(rng.choice([1, 1.5, 3])), float(rng.uniform(0, .5))
            primary, canary = (float(n) for n in rng.integers(1, 1000, 2))

            def divergence(s):
                t = ratio * s + absolute
                return primary * (special.rel_entr(p, s) + special.rel_entr(1 - p, 1 - s)) \
                    + canary * (special.rel_entr(q, t) + special.rel_entr(1 - q, 1 - t))

            s = optimize.minimize_scalar(divergence, bounds=(1e-12, (1 - absolute) / ratio - 1e-12), method="bounded",
                                         options={"xatol": 1e-12}).x
            ours = ask_one("project", p=p, q=q, ratio=ratio, absolute=absolute, primary_requests=primary,
                           canary_requests=canary)
            self.assert_close(ours, [s, ratio * s + absolute], relative=1e-5, absolute=1e-6)

    def test_agrees_with_brents_method_at_tiny_rates_and_unequal_numbers(self):
        rng = np.random.default_rng(8)
        questions, expected = [], []
        for _ in range(500):
            p, q = 10 ** rng.uniform(-9, -.3, 2)
            ratio, absolute = float(rng.choice([1, 1.5, 3])), float(10 ** rng.uniform(-8, -1))
            primary, canary = 10 ** rng.uniform(0, 9, 2)
            questions.append({"ask": "project", "p": p, "q": q, "ratio": ratio, "absolute": absolute,
                              "primary_requests": primary, "canary_requests": canary})
            expected.append(project(p, q, ratio, absolute, primary, canary))
        self.assert_close(ask(questions), expected, absolute=0)


class LateTest(Case):
    def test_agrees_with_scipy_over_restarts(self):
        rng = np.random.default_rng(9)
        shares = special.expit(np.linspace(special.logit(.004), special.logit(.99), 8))
        for planned, elapsed, phi in ((0, 25, 1), (3, 31, 4)):
            counts = [[int(n), int(rng.binomial(n, .01))] for n in rng.integers(1, 200, 20)]
            gains = [(log_likelihood(n, x, shares) - log_likelihood(n, x, .001)) / phi for n, x in counts]
            expected = restarted(gains, np.full(8, -math.log(8)), planned, elapsed)
            self.assert_close(ask_one("late", counts=counts, planned_epochs=planned, elapsed=elapsed, phi=phi), expected)


class SequencesTest(Case):
    def test_ratio_agrees_with_a_brute_force_over_scipys_conditional_probabilities(self):
        rng = np.random.default_rng(10)
        logs = np.linspace(-math.log(1000), math.log(1000), 241)
        for alpha in (.1, .05, .001):
            ticks = draw_ticks(rng, 30, .005, .01)
            likelihood = np.zeros(241)
            for primary, x, canary, y in ticks:
                # The canary's failures among all of them, if each request is the canary's with its share.
                share = canary / (primary + canary)
                likelihood += stats.binom.logpmf(y, x + y, special.expit(special.logit(share) + logs))
            average = special.logsumexp(likelihood) - math.log(241)
            inside = np.flatnonzero(average - likelihood < math.log(1 / alpha))
            expected = np.exp([logs[inside[0] - 1], logs[np.argmax(likelihood)], logs[inside[-1] + 1]])
            self.assert_close(ask_one("ratio", ticks=ticks, alpha=alpha), expected)

    def test_difference_agrees_with_a_brute_force_over_scipys_probabilities(self):
        rng = np.random.default_rng(11)
        grid = np.linspace(-1, 1, 81) ** 3
        for primary_rate, canary_rate in ((.01, .03), (.3, .2), (.001, .001)):
            ticks = draw_ticks(rng, 30, primary_rate, canary_rate)
            evidence, history = np.zeros(81), [2000, int(2000 * primary_rate)]
            completed, failures = history
            canary_completed = canary_failures = 0
            for tick in ticks:
                p = (failures + .5) / (completed + 1)
                q = (canary_failures + .5) / (canary_completed + min(.5 / min(p, 1 - p), 1e4))
                for i in range(1, 80):
                    evidence[i] += log_ratio(tick, p, q, *project(p, q, 1, grid[i], tick[0], tick[2]))
                completed, failures = completed + tick[0], failures + tick[1]
                canary_completed, canary_failures = canary_completed + tick[2], canary_failures + tick[3]
            inside = np.flatnonzero(evidence[1:80] < math.log(20)) + 1
            weights = [tick[0] * tick[2] / (tick[0] + tick[2]) for tick in ticks]
            estimate = np.average([tick[3] / tick[2] - tick[1] / tick[0] for tick in ticks], weights=weights)
            self.assert_close(ask_one("difference", history=history, ticks=ticks, alpha=.05),
                              [grid[inside[0] - 1], estimate, grid[inside[-1] + 1]])


class DispersionTest(Case):
    def test_agrees_with_statsmodels_pearson_statistic_of_a_binomial_regression(self):
        rng = np.random.default_rng(12)
        for _ in range(30):
            completed = rng.integers(1, 500, int(rng.integers(2, 12)))
            failures = rng.binomial(completed, rng.beta(.5, 5, completed.size))
            failures[0] = max(1, failures[0])
            if failures.sum() == completed.sum():
                continue
            fit = GLM(np.column_stack([failures, completed - failures]), np.ones((completed.size, 1)),
                      family=Binomial()).fit(tol=1e-14, maxiter=200)
            tick = [[f"web-{i}", int(n), int(x)] for i, (n, x) in enumerate(zip(completed, failures))]
            self.assert_close(ask_one("dispersion", ticks=[tick]), max(1, fit.pearson_chi2 / fit.df_resid))


class MannWhitneyTest(Case):
    def shifts(self, primary, canary, confidence):
        """R's wilcox.test: where the standardised rank sum of the shifted canary passes the normal quantile."""
        z, m, n = stats.norm.ppf(1 - (1 - confidence) / 2), len(primary), len(canary)

        def excess(shift, quantile):
            ranks = stats.rankdata(np.concatenate([canary - shift, primary]))
            ties = np.unique(ranks, return_counts=True)[1]
            deviation = math.sqrt(m * n / 12 * (m + n + 1 - np.sum(ties**3 - ties) / ((m + n) * (m + n - 1))))
            u = ranks[:n].sum() - n * (n + 1) / 2 - m * n / 2
            return (u - np.sign(u) * .5) / deviation - quantile

        def solve(quantile):
            low, high = canary.min() - primary.max(), canary.max() - primary.min()
            if excess(low, quantile) <= 0:
                return low
            if excess(high, quantile) >= 0:
                return high
            for _ in range(100):
                middle = (low + high) / 2
                low, high = (middle, high) if excess(middle, quantile) > 0 else (low, middle)
            return high

        return solve(z), solve(-z)

    def test_agrees_with_scipy_numpy_and_rs_interval(self):
        rng = np.random.default_rng(13)
        for _ in range(40):
            # Multiples of 1/64 are exact, so that equal differences are equal. Few values, and many zeros as in bins
            # without failures, give many ties.
            values, zeros = int(rng.choice([4, 50, 10**6])), float(rng.choice([0, .6]))
            primary, canary = (rng.integers(0, values, size) * (rng.uniform(size=size) >= zeros) / 64
                               for size in (int(size) for size in rng.integers(2, 40, 2)))
            if len(np.unique(np.concatenate([primary, canary]))) == 1:
                continue
            confidence = float(rng.choice([.9, .95, .98]))
            theirs = stats.mannwhitneyu(canary, primary, method="asymptotic")
            expected = [theirs.statistic, theirs.pvalue, np.median(np.subtract.outer(canary, primary)),
                        *self.shifts(primary, canary, confidence)]
            self.assert_close(ask_one("mann_whitney", primary=list(primary), canary=list(canary),
                                      confidence=confidence), expected)


class SeveralMetricsTest(Case):
    def test_ebh_agrees_with_a_brute_force_over_all_sets(self):
        """The greatest set whose every member is at least K / (level × its size)."""
        rng = np.random.default_rng(14)
        for _ in range(100):
            values, level = np.exp(rng.normal(2, 2, int(rng.integers(1, 8)))), float(rng.choice([.01, .1, .3]))
            best = ()
            for size in range(1, values.size + 1):
                for chosen in itertools.combinations(range(values.size), size):
                    if min(values[list(chosen)]) >= values.size / (level * size):
                        best = chosen
            self.assertEqual(ask_one("ebh", log_values=list(np.log(values)), level=level), list(best))

    def test_average_agrees_with_scipy(self):
        rng = np.random.default_rng(15)
        for _ in range(30):
            values, weights = rng.normal(0, 50, 6), rng.uniform(.01, 5, 6)
            self.assert_close(ask_one("average", log_values=list(values), weights=list(weights)),
                              special.logsumexp(values, b=weights / weights.sum()))


if __name__ == "__main__":
    unittest.main()
