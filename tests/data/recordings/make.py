#!/usr/bin/env python3
"""Makes the example recordings beside this file: make.py CANARYCTL [NAME...]
What they decide, without making them anew: make.py CANARYCTL --decisions

Requests are drawn at random, from seeds made of the recording's name and the tick's time. The
canary's share follows the weight that the rollout wants at each tick, so each recording is replayed
by consul-canaryctl until its weights and those of the replay agree.
"""

import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EDGES_MS = [5, 10, 25, 50, 100, 250, 500, 1000, 2500]
FLUSH_SECONDS = 5  # Envoy's histograms move that often
HISTORY = {"completed": 20000, "failures": 20}


def poisson(rng, mean):
    count, at = 0, rng.expovariate(mean)
    while at < 1:
        count, at = count + 1, at + rng.expovariate(mean)
    return count


def milliseconds(rng, median):
    return rng.lognormvariate(math.log(median), 0.6)


def latency(times):
    return {"timed": len(times),
            "slower": {f"{edge}ms": sum(t > edge for t in times) for edge in EDGES_MS}}


class Scenario:
    seed = ""           # beside the name
    rate = 200          # requests a second
    seconds = 60
    failing = 0.001     # share of the requests, at both subsets
    median_ms = 40      # of their time, at both subsets
    timed = False       # whether histograms are recorded
    history = HISTORY
    warmup = "2s"
    steps = [{"weight": 10}, {"weight": 50}]
    strategy = {}
    analysis = {}
    header = {}

    def canary_failing(self, t):
        return self.failing

    def canary_median_ms(self, t):
        return self.median_ms

    def canary_share(self, t, weight):
        return weight / 100

    def first_line(self):
        spec = {"service": "api",
                "strategy": {"steps": self.steps, "warmup": self.warmup, **self.strategy}}
        if self.analysis:
            spec["analysis"] = self.analysis
        history = dict(self.history)
        if self.timed:
            rng = random.Random(f"{self.name}{self.seed}/history")
            history |= latency([milliseconds(rng, self.median_ms)
                                for _ in range(history["completed"])])
        return {"recording": 1, "spec": spec, "history": {"primary": history}, **self.header}

    def requests(self, t, weight):
        """How many requests of the tick go to the primary and to the canary."""
        rng = random.Random(f"{self.name}{self.seed}/{t}/requests")
        both = poisson(rng, self.rate)
        canary = sum(rng.random() < self.canary_share(t, weight) for _ in range(both))
        return both - canary, canary

    def counts(self, t, subset, completed):
        rng = random.Random(f"{self.name}{self.seed}/{t}/{subset}")
        failing = self.canary_failing(t) if subset == "canary" else self.failing
        return {"completed": completed,
                "failures": sum(rng.random() < failing for _ in range(completed))}

    def times(self, t, weight, subset):
        rng = random.Random(f"{self.name}{self.seed}/{t}/{subset}/times")
        median = self.canary_median_ms(t) if subset == "canary" else self.median_ms
        completed = self.requests(t, weight)[subset == "canary"]
        return [milliseconds(rng, median) for _ in range(completed)]

    def tick(self, t, weights):
        """weights: of every tick up to this one; weights[t] is this one's."""
        primary, canary = self.requests(t, weights[t])
        line = {"t": t, "primary": self.counts(t, "primary", primary),
                "canary": self.counts(t, "canary", canary), "weight": weights[t]}
        if self.timed and t % FLUSH_SECONDS == 0:
            for subset in ("primary", "canary"):
                times = [time for at in range(t - FLUSH_SECONDS + 1, t + 1)
                         for time in self.times(at, weights[at], subset)]
                line[subset] |= latency(times)
        return line


class Healthy(Scenario):
    name = "healthy"
    rate = 250
    seconds = 60


class Failing(Scenario):
    """A fifth of the canary's requests fail from t = 8 on."""
    name = "failing"
    rate = 250
    seconds = 16

    def canary_failing(self, t):
        return 0.2 if t >= 8 else self.failing


class Slow(Scenario):
    """From t = 12 on the canary takes four times as long; nothing fails."""
    name = "slow"
    timed = True
    failing = 0.0002
    steps = [{"weight": 25, "min_duration": "40s"}, {"weight": 50}]
    analysis = {"latency": [{"edge": "250ms"}]}

    def canary_median_ms(self, t):
        return 4 * self.median_ms if t >= 12 else self.median_ms


class Hanging(Scenario):
    """From t = 12 on the canary answers nothing; a block of its requests closes every 3 s."""
    name = "hanging"
    seconds = 30
    steps = [{"weight": 25, "min_duration": "20s"}, {"weight": 50}]
    header = {"late_after": 2.5}
    block_seconds = 3
    fault = 12

    def tick(self, t, weights):
        line = super().tick(t, weights)
        if t >= self.fault:
            line["canary"] = {"completed": 0, "failures": 0}
        if t % self.block_seconds == 0:
            block = range(max(1, t - self.block_seconds + 1), t + 1)
            started = {at: self.requests(at, weights[at])[1] for at in block}
            line["late"] = {"started": sum(started.values()),
                            "late": sum(n for at, n in started.items() if self.fault <= at < t)}
        return line


class Share(Scenario):
    """A caller's sidecar ejects the canary half of the time: it gets 5% where 10% are set."""
    name = "share"

    def canary_share(self, t, weight):
        return weight / 200

    def tick(self, t, weights):
        return super().tick(t, weights) | {"ejections": 1}


class LateFault(Scenario):
    """Six healthy minutes at the first step, then 5% of the canary's requests fail."""
    name = "late-fault"
    seconds = 420
    rate = 100
    steps = [{"weight": 10, "min_duration": "10m"}, {"weight": 50}]

    def canary_failing(self, t):
        return 0.05 if t > 360 else self.failing


class Clumps(Scenario):
    """Failures of both subsets come in bursts of an instance, the first minute before the canary.

    The seed is one of the many where, were the failures independent, the canary would be worse.
    """
    name = "clumps"
    seed = "2"
    seconds = 240
    steps = [{"weight": 50, "min_duration": "2m"}]
    history = {"completed": 20000, "failures": 100}
    instances = {"primary": ["p1", "p2", "p3", "p4"], "canary": ["c1", "c2"]}
    before = 60
    burst_chance = 0.02   # of an instance, in a second
    burst_failing = 0.4

    def split(self, t, subset, completed):
        rng = random.Random(f"{self.name}{self.seed}/{t}/{subset}/instances")
        names = self.instances[subset]
        parts = {name: {"completed": 0, "failures": 0} for name in names}
        bursts = {name: rng.random() < self.burst_chance for name in names}
        for _ in range(completed):
            name = rng.choice(names)
            parts[name]["completed"] += 1
            parts[name]["failures"] += rng.random() < (self.burst_failing if bursts[name]
                                                       else self.failing)
        return parts

    def tick(self, t, weights):
        line = super().tick(t, weights)
        parts = {subset: self.split(t, subset, line[subset]["completed"])
                 for subset in ("primary", "canary")}
        for subset, of_subset in parts.items():
            line[subset] = {key: sum(part[key] for part in of_subset.values())
                            for key in ("completed", "failures")}
        line["instances"] = {"primary": parts["primary"]}
        line["healthy"] = len(self.instances["canary"])
        return line


class Thresholds(Scenario):
    """Judged as other tools do; 3% of the canary's requests fail from t = 20 on."""
    name = "thresholds"
    timed = True
    steps = [{"weight": 25, "min_duration": "30s"}, {"weight": 50}]
    analysis = {"judge": "thresholds",
                "thresholds": [
                    {"metric": "success_ratio", "min": 0.99, "window": "5s", "failures": 3},
                    {"metric": "latency_p99", "max": "500ms", "window": "10s", "failures": 3}]}

    def canary_failing(self, t):
        return 0.03 if t >= 20 else self.failing


SCENARIOS = [Healthy, Failing, Slow, Hanging, Share, LateFault, Clumps, Thresholds]


def lines_of(scenario, weights):
    lines = [scenario.first_line()]
    lines += [scenario.tick(t, weights) for t in range(1, scenario.seconds + 1)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def replay(canaryctl, path):
    out = subprocess.run([canaryctl, "replay", "-o", "json", str(path)], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def wanted_weights(canaryctl, scenario, text):
    """The weight of each tick (from 1; 0: none): what was wanted after the one before."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(text)
        file.flush()
        ticks = replay(canaryctl, file.name)
    before = getattr(scenario, "before", 0)
    first = [0] * (before + 1) + [scenario.steps[0]["weight"]]
    after = [tick["weight"] for tick in ticks]
    return first + after[before:-1]


def make(canaryctl, scenario):
    before = getattr(scenario, "before", 0)
    weights = [0] * (before + 1) + [scenario.steps[0]["weight"]] * (scenario.seconds - before)
    while True:
        text = lines_of(scenario, weights)
        wanted = wanted_weights(canaryctl, scenario, text)
        if wanted == weights:
            (HERE / f"{scenario.name}.jsonl").write_text(text)
            return
        # Only what precedes the first difference stays as it is.
        first = next(i for i, pair in enumerate(zip(wanted, weights)) if pair[0] != pair[1])
        weights = weights[:first] + [wanted[first]] * (len(weights) - first)


def decide(canaryctl, scenario):
    """A line for each decision: time, action, cause, weight and reason, as replay_test.cc has it."""
    lines = [f"{tick['t']:g} {d['action']} {d['cause']} {d['weight']:g}: {d['reason']}\n"
             for tick in replay(canaryctl, HERE / f"{scenario.name}.jsonl")
             for d in tick["decisions"]]
    (HERE / f"{scenario.name}.decisions").write_text("".join(lines))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    names = sys.argv[2:]
    for scenario in SCENARIOS:
        if not names or scenario.name in names:
            make(sys.argv[1], scenario())
        if not names or scenario.name in names or "--decisions" in names:
            decide(sys.argv[1], scenario)


main()
