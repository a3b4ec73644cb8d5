# SPDX-License-Identifier: MIT
"""Tests of what check.py and report.py compute."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import check  # noqa: E402
import report  # noqa: E402


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


def series(figure, variant, samples, layout="natural", size=64 * report.MIB):
    return {"figure": figure, "layout": layout, "bytes": size, "variant": variant, "unit": "ns",
            "samples": samples}


class ReportTest(unittest.TestCase):
    def test_median(self):
        self.assertEqual(report.median([9, 1, 5]), 5)
        self.assertEqual(report.median([4, 1, 3, 2]), 2.5)
        self.assertEqual(report.median([7]), 7)
        with self.assertRaises(ValueError):
            report.median([])

    def test_ratio(self):
        self.assertEqual(report.ratio(3, 2), 1.5)
        self.assertIsNone(report.ratio(None, 2))
        self.assertIsNone(report.ratio(3, None))
        self.assertIsNone(report.ratio(3, 0))

    def test_ratio_of_medians(self):
        run = report.Run("uml", [series("create", "watched", [10, 90, 30]),
                                 series("pin", "fast", [20, 10, 900]),
                                 series("pin", "slow", [60, 60, 60])])
        self.assertEqual(run.against_pin("natural", 64 * report.MIB), 1.5)
        self.assertEqual(run.against_pin("natural", 64 * report.MIB, "slow"), 0.5)
        self.assertIsNone(run.against_pin("thp", 64 * report.MIB))

    def test_worst(self):
        self.assertEqual(report.worst([1, 3, 2]), 3)
        self.assertEqual(report.worst([1, 3, 2], min), 1)
        self.assertIsNone(report.worst([1, None]))
        self.assertIsNone(report.worst([]))

    def test_judge(self):
        self.assertEqual(report.judge(1.5, 1.5, True), "met")
        self.assertEqual(report.judge(1.51, 1.5, True), "missed")
        # To be ahead is more than to be as fast.
        self.assertEqual(report.judge(1, 1, False), "missed")
        self.assertEqual(report.judge(1.1, 1, False), "met")
        self.assertEqual(report.judge(None, 1, False), "not measured")

    def test_goals(self):
        size = 256 * report.MIB
        run = report.Run("uml", [
            series("create", "watched", [110]), series("pin", "fast", [100]),
            series("create", "watched", [300], size=size), series("pin", "fast", [100], size=size),
            series("append", "x", [1]), series("split", "pin", [100], "scattered"),
            series("split", "append", [10], "scattered"),
            series("split", "send", [2], "scattered")])
        results = {what: (value, verdict) for what, _, value, _, verdict in report.goals([run])}
        natural = "create / pin limit, natural, 64 MiB and more"
        self.assertEqual(results[natural], (3, "missed"))
        passes = "append and send / pin, scattered, 64 MiB"
        self.assertEqual(results[passes], (0.12, "met"))
        self.assertEqual(results["create / pin limit, THP, 256 MiB"], (None, "not measured"))
        self.assertEqual(len(results), len(report.GOALS) + 1)


if __name__ == "__main__":
    unittest.main()
