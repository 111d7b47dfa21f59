"""The report: tables, figures and the page say what the summary says, and the page needs nothing from outside."""

from __future__ import annotations

import copy
import html.parser
import itertools
import json
import re
import xml.etree.ElementTree

import pytest
from matplotlib.container import ErrorbarContainer

from secure_fair.errors import UsageError
from secure_fair.report import figures, tables
from secure_fair.report.audit import LINES_HEADER
from secure_fair.report.html import write_report


@pytest.fixture
def page(summary, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "scenario.toml").write_text('name = "faces <demo>"\n')
    return write_report(tmp_path).read_text()


def test_methods_table_has_the_baseline_beside_the_main_method(summary):
    table = tables.methods(summary)
    assert table.header == ("method", "mode", "accuracy", "balanced accuracy", "time")
    erm, parity = table.rows
    assert erm[0] == "erm"
    assert parity == ("parity (moments)", "secure", "0.792 [0.750, 0.830]", "0.790", "1 min 1 s")


def test_gaps_stand_with_their_intervals_and_what_chance_would_show(summary):
    table = tables.gaps(summary, "gender")
    assert table.header == ("gender", "DPD", "EOD", "worst group's accuracy")
    erm, parity, chance = table.rows
    found = summary["fairness"]["gender"]
    for cell, name in zip(parity[1:], (*tables.GAP_LABELS, "worst_group_accuracy"), strict=True):
        low, high = found["intervals"][name]
        assert cell == f"{found[name]:.3f} [{low:.3f}, {high:.3f}]"
    assert erm[0] == "erm"
    assert chance[1] == f"{found['null_floor']['demographic_parity_difference']:.3f}"
    noised = summary["fairness_released"]["gender"]["demographic_parity_difference"]
    assert tables.gaps({**summary, "fairness": {}, "compare": []}, "gender").rows[0][1] == f"{noised:.3f}"


def test_a_collapsed_classifier_is_marked_in_the_table_and_the_warnings(summary, tmp_path):
    collapsed = {**summary, "status": "collapsed"}
    assert tables.methods(collapsed).rows[-1][0] == "parity (moments) (collapsed)"
    (tmp_path / "summary.json").write_text(json.dumps(collapsed))
    assert "the classifier of parity (moments) is collapsed on the test records" in write_report(tmp_path).read_text()


def test_openings_say_who_received_what_and_what_protects_it(summary):
    assert tables.openings(summary).rows == (
        ("parity (moments)", "moment", "gender", "auditor", "developer", "4", "64", "noise, sigma 11.95"),
        ("parity (moments)", "moment", "race", "auditor", "developer", "4", "320", "none: exact"),
    )


def test_an_exact_release_never_looks_private(summary):
    gender, race = tables.privacy(summary).rows
    assert gender[2] == "0.987"
    assert race[2] == "none: exact releases"


def test_what_compared_methods_opened_is_listed_with_what_the_main_one_did(summary):
    line = {**summary["openings"][0], "operation": "evaluation_counts"}
    summary["compare"][0]["openings"] = [line]
    assert [row[:2] for row in tables.openings(summary).rows] == [
        ("erm", "evaluation_counts"),
        ("parity (moments)", "moment"),
        ("parity (moments)", "moment"),
    ]


def test_text_tables_line_up(summary):
    header, rule, *rows = tables.methods(summary).text().splitlines()
    ends = [match.end() for match in re.finditer("-+", rule)]
    for line in (header, *rows):
        assert len(line) <= len(rule)
        assert all(line[end : end + 2].strip() == "" for end in ends)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_tables_are_no_wider_than_the_terminal(summary, width):
    """Every word is still there and whole."""
    for table in (tables.openings(summary), tables.privacy(summary), tables.groups(summary, "gender")):
        text = table.text(width)
        assert max(map(len, text.splitlines())) <= width
        words = sorted(text.replace("_ ", "_").split())
        for cell in itertools.chain(*table.rows):
            assert all(part in " ".join(words) for word in cell.split() for part in re.split(r"(?<=_)", word))
    for line in tables.gaps(summary, "gender").text(width).splitlines():
        assert line.count("[") == line.count("]")  # a number stays beside its interval where there is room


def test_a_pipe_gets_tables_in_whole_lines_and_a_terminal_its_width(summary, monkeypatch):
    whole = tables.openings(summary).text()
    assert len(whole.splitlines()) == 2 + len(tables.openings(summary).rows)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "84")
    assert max(map(len, tables.openings(summary).text().splitlines())) <= 84 < max(map(len, whole.splitlines()))


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (12_345_678, "12.3 MB"), (4.2e12, "4.2e+03 GB")]
)
def test_sizes(number, text):
    assert tables.size(number) == text


def test_figures_are_well_formed_and_show_every_method_and_group(summary):
    for name, draw in (("a", figures.fairness_utility), ("b", figures.selection_rates)):
        figure = draw(summary, "race")
        drawn = xml.etree.ElementTree.fromstring(figures.svg(figure, name, 'of "race" & <more>'))
        text = "".join(drawn.itertext())
        assert "parity (moments)" in text
        assert "erm" in text
        assert drawn.attrib["aria-label"] == 'of "race" & <more>'
    assert "> $50" in text  # dollars are no mathematics
    assert "a & b" in text
    assert figures.png(figure).startswith(b"\x89PNG")


def test_the_widest_intersectional_gaps_are_named(summary, drawn_fairness, tmp_path):
    names = tuple(f"{sex} & {race}" for sex in ("female", "male") for race in ("A", "B", "C", "D", "E"))
    for run in (summary, *summary["compare"]):
        run["intersections"] = {"gender x race": ["gender", "race"]}
        run["fairness"]["gender x race"] = drawn_fairness(9, 0.4, names)
    summary["fairness"]["gender x race"]["null_floor"] = {"demographic_parity_difference": 0.1234}
    table = tables.intersections(summary)
    assert [row[:2] for row in table.rows] == [("erm", "gender x race"), ("parity (moments)", "gender x race")]
    entry = summary["fairness"]["gender x race"]
    rates = {name: row["selection_rate"] for name, row in entry["groups"].items()}
    floor = summary["compare"][0]["fairness"]["gender x race"]["null_floor"]["demographic_parity_difference"]
    assert [row[3] for row in table.rows] == [f"{floor:.3f}", "0.123"]
    gap, _, most, least = table.rows[1][2:]
    assert gap == f"{entry['demographic_parity_difference']:.3f}"
    assert most == f"{max(rates, key=rates.get)} {max(rates.values()):.3f}"
    assert least == f"{min(rates, key=rates.get)} {min(rates.values()):.3f}"
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    written = write_report(tmp_path).read_text()
    assert "Widest gaps between intersectional groups" in written
    assert all(f"female &amp; {race}" in written for race in "ABCDE")
    figure = figures.selection_rates(summary, "gender x race")
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == list(names)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in panel.get_yticklabels()]
    assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)  # none is cut off
    assert all(earlier.y0 > later.y1 for earlier, later in itertools.pairwise(boxes))  # nor is one on another
    assert figure.get_figwidth() == figures.WIDTH  # however many there are: letters are not made smaller on a telephone


def test_bars_and_rates_of_groups_have_their_intervals(summary):
    found = summary["fairness"]["gender"]
    rates = found["groups"]["male"]
    low, high = found["group_intervals"]["male"]["selection_rate"]
    assert low < rates["selection_rate"] < high
    row = next(row for row in tables.groups(summary, "gender").rows if row[:2] == ("parity (moments)", "male"))
    assert row[4] == f"{rates['selection_rate']:.3f} [{low:.3f}, {high:.3f}]"
    (panel,) = figures.selection_rates(summary, "gender").axes
    lines = [container.lines[2][0] for container in panel.containers if isinstance(container, ErrorbarContainer)]
    drawn = [tuple(ends[:, 1]) for line in lines for ends in line.get_segments()]
    assert any(ends == pytest.approx((low, high)) for ends in drawn)
    del found["group_intervals"]  # of released counts there are none
    assert tables.groups(summary, "gender").rows[-2][4] == f"{rates['selection_rate']:.3f}"


def test_without_intersections_there_is_no_table_of_them(summary, page):
    assert tables.intersections(summary).rows == ()
    assert "intersectional" not in page


def test_an_opening_for_an_intersection_says_so(summary):
    summary["openings"][0]["of"] = "gender x race"
    assert [row[2] for row in tables.openings(summary).rows] == ["gender (gender x race)", "race"]


def test_figures_are_the_same_every_time(summary):
    once, again = (figures.svg(figures.fairness_utility(summary, "race"), "x") for _ in range(2))
    assert once == again


def test_ids_of_two_figures_on_one_page_do_not_collide(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    clips = [name for name in ids if f"url(#{name})" in page]
    assert len(clips) == len(set(clips)) > 0


def test_the_page_is_self_contained_and_escapes_names(page):
    assert "faces &lt;demo&gt;" in page
    assert "<demo>" not in page
    assert "<script" not in page
    assert "@import" not in page
    outside = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(target.startswith("#") for target in outside)


def test_the_page_is_balanced_html(page):
    void = {"meta", "br", "link", "img", "hr"}
    open_tags = []

    class Checker(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in void:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Checker().feed(page)
    assert open_tags == []


def test_the_page_has_every_part(page):
    for title in ("Result", "Groups", "What was opened to whom", "Privacy", "Cost", "Security", "Released audit"):
        assert f"{title}</h" in page
    assert "exact releases (moment): attributes can be computed from them" in page
    assert "810 kB" in page


def test_a_run_ends_in_the_tables_of_an_audit(summary, tmp_path):
    """Of released counts alone, by the code of audits; a run that releases none has no audit."""
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    page = write_report(tmp_path).read_text()
    assert "Audit by gender (counts with noise, sigma 3)" in page
    assert "standard deviations" in page
    lines = (tmp_path / "audit.csv").read_text().splitlines()
    assert lines[0] == ",".join(LINES_HEADER)
    assert {line.split(",")[0] for line in lines[1:]} == {"gender"}
    (tmp_path / "audit.csv").unlink()
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"fairness_released": {}}))
    assert "Audit by" not in write_report(tmp_path).read_text()
    assert not (tmp_path / "audit.csv").exists()


def test_a_run_that_used_no_attribute_says_so(summary, tmp_path):
    baseline = copy.deepcopy(summary["compare"][0])
    (tmp_path / "summary.json").write_text(json.dumps(baseline))
    page = write_report(tmp_path).read_text()
    assert "Nothing was opened to anybody." in page
    assert "No attribute was used." in page


def test_undefined_metrics_are_dashes_and_leave_the_figure_out(summary):
    del summary["compare"]
    for metrics in summary["fairness"].values():
        metrics["demographic_parity_difference"] = None
        metrics["groups"] = {}
    assert tables.gaps(summary, "gender").rows[0][1] == "-"
    assert figures.fairness_utility(summary, "gender") is None
    assert figures.selection_rates(summary, "gender") is None


def test_a_damaged_summary_is_a_clean_error(tmp_path):
    with pytest.raises(UsageError, match="is missing"):
        write_report(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        write_report(tmp_path)


def test_all_methods_together_stand_beside_the_main_one(summary, tmp_path):
    account = {**summary["privacy"]["attributes"]["gender"], "epsilon": 1.23, "releases": 7}
    records = {"auditor": {"gender, race": {"epsilon": 2.0, "exact": False, "delta": 2e-6, "adjacency": "a record"}}}
    summary["privacy"]["with_compared"] = {"attributes": {"gender": account}, "records": records}
    main, _, together, own = tables.privacy(summary).rows
    assert main[:3] == ("parity (moments)", "gender", "0.987")
    assert together[:5] == ("with compared methods", "gender", "1.23", "1e-05", "7")
    assert own[:3] == ("with compared methods", "auditor's own records: gender, race", "2")
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert "with compared methods" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("delta", "printed"), [(1e-5, "1e-05"), (1.4e-5, "1.4e-05"), (1.0001e-5, "1.01e-05"), (2e-6, "2e-06"), (0.0, "-")]
)
def test_no_delta_is_printed_as_less_than_it_is(summary, delta, printed):
    summary["privacy"]["attributes"]["gender"]["delta"] = delta
    assert tables.privacy(summary).rows[0][3] == printed


def test_what_an_auditor_learned_of_the_developer_s_is_listed_as_that(summary):
    line = {**summary["openings"][0], "operation": "row check of moment", "says": "whether rows are within 1"}
    summary["openings"].append({**line, "auditor": "developer", "receiver": "auditor"})
    assert tables.openings(summary).rows[-1][3:5] == ("developer", "auditor")
    assert tables.openings(summary).rows[-1][-1] == "whether rows are within 1"
