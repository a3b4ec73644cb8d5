# SPDX-License-Identifier: MIT
"""Tests of what check.py and report.py compute."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import check  # noqa: E402


class CheckTest(unittest.TestCase):
    RECORDED = {("a/b/1", "-"): 100.0, ("core/instructions/c/1", "gcc-1"): 100.0}

    def verdicts(self, a, c, compiler="gcc-1"):
        figures = {"a/b/1": a, "core/instructions/c/1": c}
        return [verdict for verdict, _ in check.compare(figures, self.RECORDED, compiler)]

    def test_tolerance(self):
        self.assertEqual(self.verdicts(105.0, 100.0), ["ok", "ok"])
        self.assertEqual(self.verdicts(105.1, 100.0), ["not ok", "ok"])
        self.assertEqual(self.verdicts(100.0, 106.0), ["ok", "not ok"])
        self.assertEqual(self.verdicts(50.0, 50.0), ["ok", "ok"])

    def test_other_compiler(self):
        self.assertEqual(self.verdicts(100.0, 900.0, "gcc-2"), ["ok", "skip"])

    def test_not_measured(self):
        results = check.compare({"a/b/1": 1.0}, self.RECORDED, "gcc-1")
        self.assertEqual([verdict for verdict, _ in results], ["ok", "not ok"])

    def test_complexity(self):
        ok = check.complexity({"x/10": 10.0, "x/1000": 11.0, "y/5": 1.0})
        self.assertEqual([verdict for verdict, _ in ok], ["ok"])
        bad = check.complexity({"x/10": 10.0, "x/1000": 11.1})
        self.assertEqual([verdict for verdict, _ in bad], ["not ok"])
        # By number, not by the order of letters.
        self.assertEqual(check.complexity({"x/9": 20.0, "x/10": 1.0})[0][0], "ok")

    def test_figures(self):
        self.assertEqual(check.parse_figures(["a/1 2.5\n"]), {"a/1": 2.5})
        with self.assertRaises(ValueError):
            check.parse_figures(["a/1 2", "a/1 3"])

    def test_record(self):
        with tempfile.NamedTemporaryFile("w", suffix=".recorded", delete=False) as file:
            file.write("# head\ncore/instructions/c/1 gcc-2 7\n")
        with open(file.name, encoding="utf-8") as old:
            recorded = check.parse_recorded(old)
        check.record(file.name, {"a/b/1": 3.0, "core/instructions/c/1": 4.0}, recorded, "gcc-1")
        with open(file.name, encoding="utf-8") as new:
            text = new.read()
        os.unlink(file.name)
        self.assertEqual(text, "# head\na/b/1 - 3\ncore/instructions/c/1 gcc-1 4\n"
                               "core/instructions/c/1 gcc-2 7\n")


if __name__ == "__main__":
    unittest.main()
