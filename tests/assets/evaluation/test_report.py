"""The leaderboard and the decay table on numbers written by hand."""

import math

import pandas as pd
import pytest

from assets.evaluation.compare import RELATIVE_COLUMNS, Difference
from assets.evaluation.files import Basis, RanksInfo
from assets.evaluation.report import decay_table, leaderboard
from assets.schema import SEED_MEAN_COLUMNS, CaseSlice

BASIS = Basis((0,), ("c",), "t", ("rolling/refreshed",), 5000, "{}")
INFO = RanksInfo("m", BASIS, cases=990, repeats_dropped=10, off_catalog=99, cases_in_all=990)
VALUES = {
    "decayed_popularity": {"overall": 0.2, "head": 0.1, "tail": 0.05, "cold": 0.5, "no_history": 0.3},
    "popularity": {"overall": 0.1, "head": 0.2, "tail": 0.0, "cold": 0.0, "no_history": 0.3},
    "sasrec": {"overall": 0.15, "head": 0.25, "tail": 0.05, "cold": 0.0, "no_history": 0.3},
}
DIFFERENCES = {"popularity": Difference(-0.1, -0.12, -0.08), "sasrec": Difference(-0.05, -0.11, 0.01)}
FLOORS = {"decayed_popularity", "popularity"}


def metrics(values: dict[str, dict[str, float]], n: int = 500, seeds: int = 1, error: float = math.nan) -> pd.DataFrame:
    run = ("full", "rolling", "refreshed", "all")
    rows = [
        ("toy", model, seeds, *run, name, metric, 10, value, value - 0.01, value + 0.01, n, error)
        for model, slices in values.items()
        for name, value in slices.items()
        for metric in ("hr", "ndcg")
    ]
    return pd.DataFrame(rows, columns=list(SEED_MEAN_COLUMNS))


def board(values=VALUES, differences=DIFFERENCES, floors=FLOORS, n: int = 500, **options):
    return leaderboard(metrics(values, n, **options), 10, floors, differences, INFO, min_cases=100, samples=40)


def test_best_first_floors_marked_and_a_model_below_the_best_floor_too():
    assert [row[0] for row in board().rows] == [
        "decayed_popularity (floor)",
        "sasrec (below the best floor)",
        "popularity (floor)",
        "cases",
    ]


def test_cells_by_hand():
    assert board().rows[0] == ["decayed_popularity (floor)", "0.200 [0.190, 0.210]", "0.200", "0.100", "0.050", "0.500", "0.300", ""]  # fmt: skip # noqa: E501
    assert board().rows[1][-1] == "not distinguishable from (-0.050)"
    assert board().rows[2][-1] == "loses to (-0.100)"
    assert board().rows[3] == ["cases", *["500"] * 6, ""]
    assert board().headers == [
        "model",
        *("HR@10 overall", "NDCG@10 overall", "HR@10 head", "HR@10 tail", "HR@10 cold", "HR@10 no_history"),
        "against decayed_popularity",
    ]


def test_the_best_of_every_column_is_pointed_out_and_no_column_where_all_are_alike():
    # decayed_popularity leads overall (HR, NDCG) and cold and shares tail with sasrec, which leads head.
    assert board().best == {(0, 1), (0, 2), (1, 3), (0, 4), (1, 4), (0, 5)}
    assert "| **0.250** " in board().markdown()
    assert "0.250*" in board().text()
    assert "**" not in board().text()


def test_notes_state_the_rules_and_the_counts():
    text = board().markdown()
    assert "hold the cases of users with some history" in text
    assert "10 of 1,000 test engagements repeat an earlier one" in text
    assert "10.0% of the cases are on items that joined the catalog after the refresh" in text
    assert "No trained model here is above the best floor, decayed_popularity (0.200)." in text


def test_nothing_is_said_about_floors_that_are_beaten():
    better = {**VALUES, "sasrec": {**VALUES["sasrec"], "overall": 0.3}}
    assert "No trained model" not in board(better).text()
    assert board(better).rows[0][0] == "sasrec"


def test_without_the_reference_floor_there_is_no_comparison():
    without = board({"sasrec": VALUES["sasrec"]}, differences={}, floors=set())
    assert without.headers[-1] == "HR@10 no_history"
    assert "paired" not in without.text()
    assert [row[0] for row in without.rows] == ["sasrec", "cases"]


def test_few_cases_are_flagged():
    assert board(n=99).rows[-1][1] == "99†"
    assert "† fewer than 100 cases." in board(n=99).text()
    assert "†" not in board(n=100).text()


def test_several_seeds_show_their_standard_error():
    one, several = board(), board(seeds=3, error=0.004)
    assert one.title == "toy: full ranking, rolling user history, refreshed items, every test window, seed 0"
    assert several.title.endswith("every test window, mean of 3 seeds")
    assert several.rows[0][1:3] == ["0.200 ±0.004 [0.190, 0.210]", "0.200 ±0.004"]
    assert "±: standard error over the seeds" in several.text()
    assert "±" not in one.text()


def test_perplexity_has_its_column_and_the_lowest_is_best():
    table = metrics(VALUES)
    values = {"decayed_popularity": 812.25, "popularity": 1500.0, "sasrec": 700.04}
    overall = table[(table["slice"] == "overall") & (table["metric"] == "hr")]
    perplexity = overall.assign(metric="perplexity", k=0, value=overall["model"].map(values))
    shown = leaderboard(pd.concat([table, perplexity]), 10, FLOORS, {}, INFO, min_cases=100, samples=40)
    assert shown.headers[-1] == "perplexity overall"
    assert [row[-1] for row in shown.rows] == ["812.2", "700.0", "1500.0", "500"]
    assert (1, 7) in shown.best
    assert "Lower is better" in shown.text()


def test_no_user_with_history_is_refused():
    with pytest.raises(ValueError, match="nothing to compare"):
        board({"sasrec": {"no_history": 0.3}}, differences={})


def test_decay_table_by_hand():
    windows = metrics({"m": {"overall": 0.2}})
    windows = pd.concat([windows.assign(window="0"), windows.assign(window="1", value=0.1), windows])
    relative = pd.DataFrame(
        [
            ("overall", "hr", 10, "0", 1.0, 1.0, 1.0, 9),
            ("overall", "hr", 10, "1", 0.5, 0.4, 0.6, 9),
            ("cold", "hr", 10, "1", 1.0, 1.0, 1.0, 9),
        ],
        columns=list(RELATIVE_COLUMNS),
    )
    lines = decay_table(windows, {"m": relative}, "hr", 10).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == ["HR@10 overall", "window 0", "window 1"]
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == ["m", "0.200", "0.100 (50% [40%, 60%])"]
    assert "HR@10 cold" in decay_table(windows, {"m": relative}, "hr", 10, CaseSlice.COLD)


def test_of_many_windows_twenty_have_a_column():
    base = metrics({"m": {"overall": 0.2}})
    windows = pd.concat([base.assign(window=str(place)) for place in range(100)])
    relative = pd.DataFrame([("overall", "hr", 10, "99", 0.5, 0.4, 0.6, 9)], columns=list(RELATIVE_COLUMNS))
    header = decay_table(windows, {"m": relative}, "hr", 10).splitlines()[0]
    shown = [int(cell.split()[1]) for cell in header.strip("|").split("|") if "window" in cell]
    assert (len(shown), shown[0], shown[-1], sorted(set(shown))) == (20, 0, 99, shown)
