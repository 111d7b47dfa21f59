"""Pages in a browser, where there is one: nothing is wider than a telephone, and figures can be read on it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secure_fair.report.html import write_report
from secure_fair.report.index import write_index

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 768, 1280)
SMALLEST = 6.5  # pixels of a figure's letters on a telephone
MEASURE = """
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument;
    const scale = text => Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b);
    const size = text => scale(text) * parseFloat(getComputedStyle(text).fontSize);
    return {
      over: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      letters: [...page.querySelectorAll("svg text")].map(size),
    };
  });
  document.body.innerHTML = "";
  document.body.dataset.found = JSON.stringify(found);
});
"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def shown(page: str, folder: Path) -> dict[int, dict[str, Any]]:
    """What a browser measures of a page at each width."""
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>' for width in WIDTHS)
    (folder / "frames.html").write_text(f"<!doctype html><body>{frames}<script>{MEASURE}</script></body>")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(BROWSER), *options, profile, "--dump-dom", (folder / "frames.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, done.stderr
    return dict(zip(WIDTHS, json.loads(html.unescape(found[1])), strict=True))


@pytest.fixture
def crowded(
    summary: dict[str, Any], drawn_fairness: Callable[[int, float, tuple[str, ...]], dict[str, Any]], tmp_path: Path
) -> Path:
    """A run's folder, with an attribute of twelve groups and three epochs of training."""
    groups = tuple(f"a group called number {number}" for number in range(12))
    for run, folder in ((summary, tmp_path / "run"), (summary["compare"][0], tmp_path / "run" / "compare" / "erm")):
        run["fairness"]["race"] = drawn_fairness(3, 0.3, groups)
        (folder / "developer").mkdir(parents=True)
        lines = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5 + e / 10, "gaps": {"race": 0.3 / e}} for e in (1, 2, 3)]
        (folder / "developer" / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    return tmp_path / "run"


def test_a_report_fits_every_screen(crowded: Path, tmp_path: Path) -> None:
    found = shown(write_report(crowded).read_text(), tmp_path)
    assert {width: one["over"] for width, one in found.items()} == dict.fromkeys(WIDTHS, 0)
    assert len(found[390]["letters"]) > 100
    assert min(found[390]["letters"]) >= SMALLEST


def test_an_index_fits_every_screen_and_the_measure_finds_what_does_not(crowded: Path, tmp_path: Path) -> None:
    page = write_index([crowded], tmp_path / "index.html").read_text()
    assert [one["over"] for one in shown(page, tmp_path).values()] == [0, 0, 0]
    wide = page.replace("<main>", '<main><p style="width: 500px">wide</p>', 1)
    found = shown(wide, tmp_path)
    assert found[390]["over"] > 0 == found[768]["over"]
