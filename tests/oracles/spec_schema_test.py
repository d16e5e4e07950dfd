"""docs/spec.schema.json against the examples of the parser's own tests: what the parser accepts the schema accepts,
and what the parser refuses the schema refuses, unless no schema can say it."""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))

# Words of the parser for what lies beyond a schema: contradictions between keys, sums, the text itself.
BEYOND = [
    r"must be greater than the step before",
    r"must be a regular expression by RE2",
    r"must be greater than 0 where strategy\.match is empty",
    r"must be shorter than strategy\.deadline",
    r"must differ from",
    r"is given twice",
    r"has a document already",
    r"with at most two decimals, is ",
    r"is not (YAML|JSON|text)",
    r"are not supported",
    r"a key must be a word",
    r"must not begin with 0",
    r"would be ignored",
    r"stands beside",
    r"must be (manual|none) with version_key: null",
    r"must be at most strategy\.linear\.max",
    r"makes more than",
    r"leaves the primary no requests",
    r"advance is possible with|rollback would be ignored",
    r"needs analysis\.thresholds|needs strategy\.steps",
    r"must be longer than 0 with analysis\.proof: once",
    r"must be such that \d+ to \d+ bins fit",
    # a duration's length, and whether it is whole milliseconds
    r"must be a duration .*, is (8761h|0\.1ms)$",
    r"must be from \d+ s to \d+ s",
    r"the text (is longer|holds)|only one document",
]


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema, as the parser has it: no `yes`, no octal, no dates."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-+0123456789."),
):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))
Core.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
Core.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
Core.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))


def documents(text):
    text = text.lstrip("\ufeff")
    try:
        return [json.loads(text)]
    except ValueError:
        return list(yaml.load_all(text, Core)) or [None]


def examples():
    """(text, what the parser says) of every example of the parser's tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "examples")
        done = subprocess.run([os.environ["UNIT_CONFIG"], "--gtest_brief=1"], stdout=subprocess.PIPE,
                              env={**os.environ, "SPEC_EXAMPLES": path}, check=False)
        if done.returncode != 0:
            raise AssertionError("unit_config fails by itself")
        with open(path, "rb") as lines:
            return [json.loads(line) for line in lines]


def examples_of_the_page():
    with open(os.path.join(HERE, "../../docs/spec.md"), encoding="utf-8") as page:
        return re.findall(r"```yaml\n(.*?)```", page.read(), re.S)


class SpecSchema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(os.path.join(HERE, "../../docs/spec.schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        jsonschema.Draft202012Validator.check_schema(schema)
        cls.validator = jsonschema.Draft202012Validator(schema)
        cls.examples = examples()

    def accepts(self, text):
        return all(self.validator.is_valid(document) for document in documents(text))

    def test_accepts_what_the_parser_accepts(self):
        accepted = [text for text, verdict in self.examples if verdict == "ok"]
        self.assertGreater(len(accepted), 30)
        for text in accepted:
            with self.subTest(text=text):
                self.assertTrue(self.accepts(text))

    def test_refuses_what_the_parser_refuses(self):
        refused = 0
        for text, verdict in self.examples:
            if verdict == "ok" or all(any(re.search(words, line) for words in BEYOND)
                                      for line in verdict.splitlines()):
                continue
            try:
                accepts = self.accepts(text)
            except yaml.YAMLError:
                continue
            refused += 1
            with self.subTest(text=text, verdict=verdict):
                self.assertFalse(accepts)
        self.assertGreater(refused, 100)

    def test_accepts_the_examples_of_the_page(self):
        pages = examples_of_the_page()
        self.assertGreaterEqual(len(pages), 2)
        for text in pages:
            with self.subTest(text=text):
                self.assertTrue(self.accepts(text))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
