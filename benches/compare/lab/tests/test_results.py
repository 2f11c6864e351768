"""Statistics, the table, the picture."""

from __future__ import annotations

import unittest
from xml.etree import ElementTree

from lab import plot, report
from lab.cases import CASES, chosen
from lab.measure import Sample
from lab.report import Results
from lab.stats import Summary, ratio, text


class Statistics(unittest.TestCase):
    def test_a_summary(self) -> None:
        summary = Summary.of([3.0, 1.0, 2.0])
        self.assertEqual((summary.median, summary.low, summary.high, summary.count), (2.0, 1.0, 3.0, 3))
        self.assertEqual(summary.spread, 1.0)
        self.assertEqual(Summary.of([0.0]).spread, 0.0)

    def test_ratios_are_of_rounds(self) -> None:
        # The second round was twice as slow for both: that changes no ratio.
        found = ratio([1.0, 2.0, 1.5], [2.0, 4.0, 2.0])
        self.assertEqual((found and found.median, found and found.high), (0.5, 0.75))
        self.assertIsNone(ratio([1.0, -1.0], [0.0, 2.0]))

    def test_numbers_as_text(self) -> None:
        for value, expected in ((0.0, "0"), (0.00421, "0.0042"), (0.5, "0.50"), (12.34, "12.3"), (4321.0, "4,321")):
            self.assertEqual(text(value), expected)


class Choosing(unittest.TestCase):
    def test_a_whole_name_is_that_case_alone(self) -> None:
        self.assertEqual([case.id for case in chosen(["certificates-1000"])], ["certificates-1000"])
        self.assertEqual([case.id for case in chosen(["h2-1k", "h1-1"])], ["h1-1k", "h2-1k"])
        self.assertEqual(len(chosen([])), len(CASES))
        with self.assertRaises(ValueError):
            chosen(["h3"])

    def test_every_row_has_a_name_of_its_own(self) -> None:
        rows = [row.id for case in CASES.values() for row in case.rows]
        self.assertEqual(len(rows), len(set(rows)))


class Reports(unittest.TestCase):
    def results(self, *samples: tuple[str, Sample | None]) -> Results:
        results = Results({"date": "today"}, ["doorward", "nginx"], [CASES["h1-1k"]])
        for contender, sample in samples:
            results.add(CASES["h1-1k"], contender, sample)
        return results

    def test_the_table(self) -> None:
        both = self.results(("doorward", Sample({"h1-1k": 15.0})), ("nginx", Sample({"h1-1k": 30.0})))
        self.assertRegex(report.table(both), r"15\.0 \|\s+30\.0 \|\s+\*\*0\.50\*\* \|")
        self.assertEqual(both.notes(), [])
        self.assertIn("Nothing failed", report.whole(both))
        self.assertEqual(both.json()["rows"][0]["ratio"], {"nginx": 0.5})

    def test_a_round_that_one_has_not_is_no_ratio(self) -> None:
        one = self.results(("doorward", Sample({"h1-1k": 15.0})), ("nginx", None),
                           ("doorward", Sample({"h1-1k": 20.0})), ("nginx", Sample({"h1-1k": 10.0})))
        found = one.ratio(CASES["h1-1k"], CASES["h1-1k"].rows[0], "nginx")
        self.assertEqual((found and found.median, found and found.count), (2.0, 1))

    def test_what_speaks_against_it_is_said(self) -> None:
        bad = self.results(("doorward", Sample({"h1-1k": 15.0}, failed=2, agreed="a", errors=["reset"])),
                           ("nginx", Sample({"h1-1k": 30.0}, agreed="b", others=0.5)))
        failed, agreed, busy = bad.notes()
        self.assertIn("doorward: 2 failed: reset", failed)
        self.assertIn("a; b", agreed)
        self.assertIn("busy in 1 of 2 measurements: others used up to 50%", busy)
        self.assertIn("Not to be trusted", report.whole(bad))

    def test_the_picture_is_xml_with_a_dot_for_each_ratio(self) -> None:
        both = self.results(("doorward", Sample({"h1-1k": 90.0})), ("nginx", Sample({"h1-1k": 30.0})))
        both.about["date"] = "<today & now>"
        picture = ElementTree.fromstring(plot.draw(both))
        titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
        self.assertEqual(titles, ["nginx: 3.00 (3.00 to 3.00)"])
