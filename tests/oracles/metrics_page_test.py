"""Our pages of metrics, read by the parsers of Prometheus' own Python client, which are strict about OpenMetrics."""

import os
import pathlib
import subprocess
import unittest

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open_metrics
from prometheus_client.parser import text_string_to_metric_families as read_text

ODD = 'a "b" \\c\\n\nd{},=# h\u00e9 \ufffd!'


def page(syntax):
    return subprocess.run([os.environ["METRICS_PAGE"], syntax], check=True, capture_output=True).stdout.decode()


def samples(families):
    """(name, labels) -> value; bounds as numbers, which the two formats write differently."""
    values = {}
    for family in families:
        for sample in family.samples:
            labels = {name: float(text) if name == "le" else text for name, text in sample.labels.items()}
            key = (sample.name, tuple(sorted(labels.items())))
            assert key not in values, key
            values[key] = sample.value
    return values


class MetricsPage(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.text = list(read_text(page("text")))
        cls.open_metrics = list(read_open_metrics(page("openmetrics")))

    def test_says_the_same_in_both_formats(self):
        self.assertGreater(len(samples(self.text)), 300)
        self.assertEqual(samples(self.text), samples(self.open_metrics))

    def test_has_families_of_the_same_type_and_help(self):
        described = [{family.name: (family.type, family.documentation) for family in families}
                     for families in (self.text, self.open_metrics)]
        self.assertEqual(described[0], described[1])
        self.assertTrue(all(kind in ("gauge", "counter", "histogram") and help for kind, help in described[0].values()))

    def test_keeps_names_that_need_escaping(self):
        services = {sample.labels["service_name"] for family in self.text for sample in family.samples
                    if "service_name" in sample.labels}
        self.assertEqual(services, {"service-0000", "service-0001", "service-0002", ODD})

    def test_has_nothing_that_promtool_complains_of(self):
        root = pathlib.Path(__file__).resolve().parent.parent.parent
        promtool = subprocess.run([root / "deploy/real-parts/find", "promtool"], check=True, capture_output=True,
                                  text=True).stdout.strip()
        checked = subprocess.run([promtool, "check", "metrics"], input=page("text"), capture_output=True, text=True)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))

    def test_keeps_numbers(self):
        values = samples(self.text)
        canary = tuple(sorted({"service_name": ODD, "subset": "canary", "role": "canary"}.items()))
        count = values[("consul_canary_request_duration_seconds_count", canary)]
        self.assertEqual(count, values[("consul_canary_requests_total", canary + (("view", "requests"),))])
        self.assertAlmostEqual(values[("consul_canary_request_duration_seconds_sum", canary)], count * 0.012345)
        self.assertEqual(values[("consul_canary_split_weight_ratio", canary)], 0.1)
        self.assertEqual(values[("process_cpu_seconds_total", ())], 0.25)


if __name__ == "__main__":
    unittest.main()
