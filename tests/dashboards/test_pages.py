"""Pages of the static site from tiny frames: the status at a glance by hand, figures, tables, escaping, thinning."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from dashboards import site_cold, site_decay, site_drift, site_freshness, site_quality
from dashboards.data_docs import TableResult
from dashboards.pages import build_page, plotly_bundle
from dashboards.site_board import leaderboard_page, read_board
from dashboards.site_champion import champion_page
from dashboards.site_figures import panel_json
from dashboards.site_front import front_page
from dashboards.site_parts import (
    Cell,
    Figure,
    LineStyle,
    Page,
    Section,
    State,
    Table,
    Topic,
    instant,
    number,
    numbers_table,
    partition_start,
    styles,
    thinned,
    with_interval,
)
from dashboards.site_status import (
    champion_topic,
    decay_topic,
    drift_topic,
    freshness_topic,
    quality_topic,
    recall_topic,
    worst,
)
from tests.assets.monitoring.site_home import alert, expectation

MARKDOWN = """### toy: full ranking

| model      | HR@10     |   against |
|------------|-----------|-----------|
| popularity | **0.200** |           |
| sasrec     | 0.100     | loses     |

- Ties are averaged.
"""


def html(page: Page) -> str:
    return build_page(page, [("index.html", "Overview"), (page.file, page.name)], "toy", "2024-05-01 10:00")


def result(name: str, success: bool = True, severity: str = "error") -> TableResult:
    return {
        "name": name,
        "success": success,
        "rows": 40,
        "started_at": "2024-03-01T00:00:00Z",
        "seconds": 0.1,
        "written_at": "",
        "expectations": [expectation(success, severity)],
    }


def figure(**changes: object) -> Figure:
    frame = pd.DataFrame(
        {"panel": "p", "line": ["a", "a", "b"], "x": ["1", "2", "1"], "value": [1.0, 2.0, np.nan], "low": 0.5}
    ).assign(high=[1.5, np.nan, np.nan])
    return Figure(**{"name": "f", "summary": "Two.", "frame": frame, "panels": {"p": "y"}, "lines": styles(["a", "b"]),
                     "x_title": "x", **changes})  # fmt: skip


def test_read_board() -> None:
    board = read_board(MARKDOWN)
    assert board is not None
    assert board.table == Table(
        "toy: full ranking; the best of a column in bold",
        ["model", "HR@10", "against"],
        [
            [Cell("popularity"), Cell("0.200", strong=True), Cell("")],
            [Cell("sasrec"), Cell("0.100"), Cell("loses")],
        ],
    )
    assert board.notes == ["Ties are averaged."]
    assert read_board("# nothing yet\n") is None
    assert "<strong>0.200</strong>" in html(leaderboard_page(board, []))


@pytest.mark.parametrize(
    ("tables", "missing", "stale", "state"),
    [
        ([], ["items"], [], State.UNKNOWN),
        ([result("items")], [], [], State.GOOD),
        ([result("items")], ["users"], [], State.WARN),
        ([result("items")], [], ["items"], State.WARN),
        ([result("items", False, "warning")], [], [], State.WARN),
        ([result("items", False), result("users", False, "warning")], ["cases"], ["items"], State.BAD),
    ],
)
def test_data_quality_at_a_glance(
    tables: list[TableResult], missing: list[str], stale: list[str], state: State
) -> None:
    assert quality_topic(tables, missing, stale).state == state


def verdicts(*rows: tuple[str, str, str, bool, bool]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["kind", "name", "starts_at", "judged", "alarm"])
    return frame.assign(reason="", drifted=[["hour"]] * len(rows), starts_at=pd.to_datetime(frame["starts_at"]), rows=9)


@pytest.mark.parametrize(
    ("table", "state"),
    [
        (None, State.UNKNOWN),
        (verdicts(), State.UNKNOWN),
        (verdicts(("partition", "2024-01-01", "2024-01-01", False, False)), State.UNKNOWN),
        (verdicts(("partition", "2024-01-01", "2024-01-01", True, False)), State.GOOD),
        # The newest that was judged speaks: neither the one before nor the one that was too small.
        (
            verdicts(
                ("partition", "2024-01-03", "2024-01-03", False, False),
                ("partition", "2024-01-02", "2024-01-02", True, True),
                ("partition", "2024-01-01", "2024-01-01", True, False),
            ),
            State.WARN,
        ),
        # Landed partitions before windows, whatever their dates.
        (
            verdicts(("window", "4", "2025-01-01", True, True), ("partition", "2024-01-01", "2024-01-01", True, False)),
            State.GOOD,
        ),
        (verdicts(("window", "4", "2025-01-01", True, True)), State.WARN),
    ],
)
def test_drift_at_a_glance(table: pd.DataFrame | None, state: State) -> None:
    assert drift_topic(table).state == state


def not_judged(name: str, engagements: float, reason: str) -> pd.DataFrame:
    """A partition's verdict of which nothing was compared."""
    return verdicts(("partition", name, name, False, False)).assign(rows=0, engagements=engagements, reason=reason)


def test_why_nothing_was_judged_is_the_newest_partitions_own_reason() -> None:
    few = not_judged("2024-01-02", 45.0, "not judged: 45 engagements, fewer than drift.minimum_rows (50)")
    early = not_judged("2024-01-03", 5000.0, "not judged: it begins before the champion's cutoff 2024-01-10")
    assert drift_topic(pd.concat([early, few])).reason == (
        "None of 2 partitions was judged; the newest, 2024-01-03: not judged: it begins before the champion's cutoff"
        " 2024-01-10."
    )


def test_the_drift_page_tells_what_came_from_what_was_compared() -> None:
    many = verdicts(("partition", "2024-01-03", "2024-01-03", True, False)).assign(rows=20_000, engagements=1e6)
    few = not_judged("2024-01-02", 45.0, "not judged: 45 engagements")
    (table,) = site_drift.drift_page(None, pd.concat([few, many]), lambda kind, name: "").sections[0].tables
    places = [table.columns.index(name) for name in ("engagements", "compared")]
    assert [[row[place].text for place in places] for row in table.rows] == [["1,000,000", "20,000"], ["45", "0"]]
    (table,) = (
        site_drift.drift_page(None, verdicts(("window", "4", "2024-01-03", True, False)), lambda kind, name: "")
        .sections[1]
        .tables
    )
    assert [table.rows[0][place].text for place in places] == ["", "9"]  # the windows' summary does not count what came


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.GOOD),
        ({"alerted": True}, State.BAD),
        ({"ratio": None}, State.UNKNOWN),
        ({"ratio": 0.89}, State.WARN),
        ({"against_floor": {"reference": 0.1, "recent": -0.01}}, State.WARN),
        ({"against_floor": {"reference": None, "recent": None}}, State.GOOD),
        ({"checkpoint": "another12345", "alerted": True}, State.UNKNOWN),
    ],
)
def test_decay_at_a_glance(changes: dict[str, object], state: State) -> None:
    assert decay_topic(alert(**changes), "bbbbbbbbbbbb and the rest").state == state


def test_decay_that_nobody_judged_is_not_good() -> None:
    assert decay_topic(None, "b").state == State.UNKNOWN
    assert decay_topic(alert(alerted=True), None).state == State.BAD  # what serves could not be read: the alert stands


@pytest.mark.parametrize(
    ("kinds", "alerted", "state"),
    [
        ([], False, State.GOOD),
        (["first", "won"], True, State.GOOD),
        (["lost"], False, State.GOOD),
        (["lost"], True, State.WARN),
        (["won", "rollback"], False, State.WARN),
        (["rollback", "run"], False, State.GOOD),
    ],
)
def test_champion_at_a_glance(kinds: list[str], alerted: bool, state: State) -> None:
    record = [{"at": 0, "kind": kind, "model": "sasrec"} for kind in kinds]
    assert champion_topic(record, {"model": "sasrec"}, alerted).state == state
    assert champion_topic(record, None, alerted).state == State.UNKNOWN


@pytest.mark.parametrize(
    ("engagements", "waiting", "p95", "state"),
    [
        (10.0, 0.0, 60.0, State.GOOD),
        (10.0, 3.0, 60.0, State.WARN),
        (10.0, 3.0, 60.1, State.BAD),
        (0.0, 3.0, np.nan, State.UNKNOWN),
    ],
)
def test_freshness_at_a_glance(engagements: float, waiting: float, p95: float, state: State) -> None:
    row = {"group": "all", "hop": "searchable", "engagements": engagements, "waiting": waiting, "p95": p95}
    report = pd.DataFrame([row, {**row, "group": "2024-01-01", "p95": 1e6}])
    assert freshness_topic(report, 60.0).state == state
    assert freshness_topic(None, 60.0).state == State.UNKNOWN


def test_recall_and_the_worst_of_all() -> None:
    topics = [recall_topic(value, 0.95) for value in (0.95, 0.949, None)]
    assert [topic.state for topic in topics] == [State.GOOD, State.BAD, State.UNKNOWN]
    assert [worst(topics), worst(topics[:1]), worst([topics[0], topics[2]])] == [State.BAD, State.GOOD, State.UNKNOWN]


def test_the_front_page_names_what_to_act_on() -> None:
    topics = [Topic("Drift", State.WARN, "more of <b>", "drift.html"), Topic("Recall", State.BAD, "low", "x.html")]
    text = html(front_page(topics, [], ["metrics: KeyError: 'value'"]))
    assert "To act on: Recall." in text
    assert "more of &lt;b&gt;" in text
    assert "metrics: KeyError" in text
    assert 'data-topic="Drift" data-state="warn"' in text


def test_a_figure_has_its_numbers_as_a_table() -> None:
    table = numbers_table(figure())
    assert table.columns == ["x", "a", "b"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["1", "1.000 [0.500, 1.500]", ""],
        ["2", "2.000", ""],
    ]
    content = json.loads(panel_json(figure(), "p"))
    band, line = content["data"]  # b has no number, so no line
    assert (band["x"], band["y"]) == (["1", "1"], [1.5, 0.5])
    assert (line["name"], line["x"], line["y"], line["line"]["color"]) == ("a", ["1", "2"], [1.0, 2.0], "var(--c0)")


def test_bars_marks_and_bounds() -> None:
    stacked = json.loads(panel_json(figure(kind="stack", bounds=[(10.0, "most")], log=True), "p"))
    assert [trace["type"] for trace in stacked["data"]] == ["bar"]
    assert stacked["layout"]["annotations"][0]["y"] == 1.0  # a logarithmic axis counts in powers of ten
    frame = figure().frame.assign(x=pd.Timestamp("2024-01-01"))
    marked = json.loads(panel_json(figure(frame=frame, time=True, marks=[(np.datetime64("2024-01-02"), "won")]), "p"))
    assert marked["layout"]["shapes"][0]["x0"] == "2024-01-02 00:00"


def test_what_was_decided_before_a_replay_does_not_stretch_its_days() -> None:
    quality = pd.DataFrame(
        {
            "checkpoint": "0123456789ab",
            "model": "sasrec",
            "contender": ["champion", "champion"],
            "partition": ["2024-01-01", "2024-01-02"],
            "starts_at": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "ends_at": pd.to_datetime(["2024-01-02", "2024-01-03"]),
            "slice": "overall",
            "metric": "hr",
            "k": 10,
            "value": 0.5,
            "ci_low": 0.4,
            "ci_high": 0.6,
            "n": 7,
        }
    )
    marks = [(np.datetime64(day), "won") for day in ("2023-12-31", "2024-01-02T12", "2024-03-01")]
    page = site_decay.decay_page(None, {}, (), quality, marks, ())
    drawn = page.sections[1].figures[0]
    assert [str(at) for at, _ in drawn.marks] == ["2024-01-02T12"]


def landed_quality(checkpoint: str, contender: str, value: float) -> pd.DataFrame:
    """One landed day of cold items, as one contender of a champion's measurement did on it."""
    return pd.DataFrame(
        {
            "checkpoint": [checkpoint],
            "model": "sasrec" if contender == "champion" else "decayed_popularity",
            "contender": contender,
            "partition": "2024-01-01",
            "starts_at": pd.Timestamp("2024-01-01"),
            "ends_at": pd.Timestamp("2024-01-02"),
            "slice": "cold",
            "metric": "ndcg",
            "k": 10,
            "value": value,
            "ci_low": value - 0.01,
            "ci_high": value + 0.01,
            "n": 7,
        }
    )


def test_every_champion_stands_beside_the_floor_on_its_own_slices() -> None:
    former, serving = "ffffffffffff", "000000000000"
    parts = [
        landed_quality(checkpoint, contender, value)
        for checkpoint, floor in ((serving, 0.5), (former, 0.1))
        for contender, value in (("champion", 0.3), ("floor", floor))
    ]
    page = site_decay.decay_page(None, {}, (), pd.concat(parts), (), ())
    (drawn,) = page.sections[1].figures
    values = dict(zip(drawn.frame["line"], drawn.frame["value"], strict=True))
    assert values == {"sasrec 000000": 0.3, "floor 000000": 0.5, "sasrec ffffff": 0.3, "floor ffffff": 0.1}
    assert drawn.lines["floor 000000"] == LineStyle(drawn.lines["sasrec 000000"].slot, "dash")
    assert drawn.lines["floor ffffff"] == LineStyle(drawn.lines["sasrec ffffff"].slot, "dash")
    assert drawn.lines["sasrec 000000"].slot != drawn.lines["sasrec ffffff"].slot


@pytest.mark.parametrize(("ks", "shown"), [((5, 20), 5), ((20, 5), 20), ((5, 10), 10)])
def test_windows_are_shown_at_the_headline_k(ks: tuple[int, ...], shown: int) -> None:
    rows = [
        {"model": "sasrec", "window": window, "slice": "overall", "metric": metric, "k": k, "value": k / 100, "n": 9}
        for window in ("0", "1", "all")
        for metric in ("hr", "ndcg")
        for k in ks
    ]
    lists = {**rows[0], "metric": "coverage", "k": 10}
    metrics = pd.DataFrame([*rows, lists]).assign(ci_low=0.0, ci_high=1.0)
    figures = site_decay.decay_page(metrics, {}, (), None, (), ()).sections[0].figures
    assert [drawn.panels for drawn in figures] == [{"overall": f"HR@{shown}"}, {"overall": f"NDCG@{shown}"}]
    assert all(set(drawn.frame["value"]) == {shown / 100} for drawn in figures)


def test_of_a_contest_the_headline_is_shown_and_the_rest_folded() -> None:
    rows = [
        {
            "contender": name,
            "slice": part,
            "metric": metric,
            "k": 10,
            "value": 0.1,
            "ci_low": 0.0,
            "ci_high": 0.2,
            "n": 9,
        }
        for name in ("champion", "challenger")
        for part, metric in (("overall", "hr"), ("overall", "coverage"), ("seen_0", "hr"))
    ]
    contest = {"name": "c", "verdict": "challenger wins", "reason": "it is better", "metrics": rows}
    tables = champion_page(None, [], contest, None).sections[2].tables
    assert [[row[0].text for row in table.rows] for table in tables[:2]] == [
        ["overall, hr@10"],
        ["overall, coverage@10", "seen_0, hr@10"],
    ]
    assert [table.folded for table in tables] == [False, True, True]
    text = html(champion_page(None, [], contest, None))
    assert text.index("<summary>Every slice and metric") < text.index("seen_0, hr@10")


def test_what_is_written_into_a_page_cannot_leave_its_place() -> None:
    evil = "</script><script>alert(1)</script>"
    frame = figure().frame.assign(line=evil)
    page = Page(
        "x.html", evil, evil, [Section(evil, [evil], [figure(frame=frame, lines=styles([evil]), summary=evil)])]
    )
    text = html(page)
    assert evil not in text
    assert text.count("<script") == text.count("</script>") == 3  # the figure's JSON, the bundle, ours


def test_thinning_keeps_the_ends_and_says_how_many() -> None:
    frame = pd.DataFrame({"x": np.arange(1000), "value": 0.0})
    kept = thinned(frame, 1)["x"]
    assert (len(kept), kept.iloc[0], kept.iloc[-1]) == (400, 0, 999)
    assert len(thinned(frame, 80)) == 100  # 8,000 points over 80 lines
    assert len(thinned(frame.head(5), 80)) == 5


def test_small_words() -> None:
    assert [number(1234), number(0.12345), number(None), number(float("nan"))] == ["1,234", "0.123", "", ""]
    assert [with_interval(1.0, np.nan, 2.0), with_interval(1.0, 0.0, 2.0)] == ["1.000", "1.000 [0.000, 2.000]"]
    assert [instant(86_400_000_000), instant(np.datetime64("2024-01-01")), instant(None)] == [
        "1970-01-02 00:00",
        "2024-01-01 00:00",
        "",
    ]
    assert [partition_start("2013-08-19"), partition_start("2013-08-19-05")] == ["2013-08-19 00:00", "2013-08-19 05:00"]


def test_more_lines_than_colours_are_told_apart() -> None:
    held = styles([f"m{place}" for place in range(10)], ["floor"])
    assert [held["m0"].dash, held["m8"].dash, held["floor"].dash] == ["solid", "dot", "dash"]


def test_pages_of_nothing_say_so() -> None:
    pages = [
        site_decay.decay_page(None, {}, (), None, (), ()),
        site_cold.cold_page(None, None, None, frozenset()),
        site_freshness.freshness_page(None, 60.0, None),
        site_drift.drift_page(None, None, lambda kind, name: ""),
        champion_page(None, [], None, None),
        site_quality.quality_page([], [], [], None),
        leaderboard_page(None, []),
    ]
    for page in pages:
        text = html(page)
        assert "Not measured yet" in text
        assert "plotly" not in text  # no figure, so four megabytes less to load


def test_every_link_of_a_page_is_relative() -> None:
    text = html(champion_page({"model": "sasrec", "until": None, "created_at": 0}, [], None, alert()))
    assert not re.findall(r'(?:src|href)="(?:/|https?:)', text)
    assert "1970-01-01 00:00" in text


def test_the_bundle_is_plotly() -> None:
    assert b"plotly.js v" in plotly_bundle()[:200]
