"""Forecast beside fact: of every operation over every link, and what is far off is named."""

from __future__ import annotations

from secure_fair.bench.links import WIDTHS, LinkRow, measure_links
from secure_fair.bench.report import BenchReport


def test_every_release_is_timed_and_forecast() -> None:
    heard: list[str] = []
    rows = measure_links([200], [5.0], heard.append)
    assert [(row.operation, row.records, row.latency_ms) for row in rows] == [(name, 200, 5.0) for name in WIDTHS]
    least = {"moment": 6, "group_counts": 4, "adversary_rows": 11}  # messages one way, of which each takes 5 ms
    for row in rows:
        assert min(row.seconds, row.forecast) > 0.9 * 0.005 * least[row.operation]
    assert heard == ["forecast and fact over a link of 5 ms"]


def test_what_the_forecast_misses_is_named() -> None:
    near, far = LinkRow("moment", 10_000, 0, 1.0, 1.25), LinkRow("group_counts", 100_000, 50, 1.0, 0.6)
    page = BenchReport(2, 8, 12, 1, [], None, links=[near, far]).page()
    assert "Further than 30% from the fact: group_counts of 100,000 at 50 ms (0.60)." in page
    assert " --links " in page
    assert "| moment | 10,000 | 0 | 1.00 | 1.25 | 1.25 |" in page
    assert "All are within 30% of the fact." in BenchReport(2, 8, 12, 1, [], None, links=[near]).page()
