"""Means per frame and over frames against numbers worked out by hand, and the page that shows them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.evaluation.studies.online import FLOORS, NAMES, FrameResult, _no_rows
from assets.evaluation.studies.online_measures import BAR, MEAN, REFERENCE, compare, measure, pick
from assets.evaluation.studies.online_page import draw, page
from tests.assets.evaluation.studies.online_toy import frame_of, online_settings, result_of

USERS = ["ann", "bob", "cat", "dan"]


@pytest.fixture(scope="module")
def results() -> list[FrameResult]:
    """Of four cases, online + trend hits 3 and recent popularity 2; of two in the last frame 0 and 1."""
    first = result_of(0, {BAR: [0, 9, 4, 10], REFERENCE: [9, 9, 10, 10], "online": [0, 0, 0, 0]}, USERS, nll=2.0)
    second = result_of(2, {BAR: [10, 11], REFERENCE: [0, 10]}, ["ann", "eve"], nll=4.0)
    return [first, FrameResult(frame_of(1), _no_rows()), second]


@pytest.fixture(scope="module")
def table(results: list[FrameResult]) -> pd.DataFrame:
    return measure(results, 200, 0)


def test_a_frame_counts_its_cases_and_the_mean_its_frames(table: pd.DataFrame) -> None:
    hits = pick(table, BAR, "", "hr")
    assert {frame: (number.value, number.n) for frame, number in hits.items()} == {
        "0": (0.75, 4),
        "2": (0.0, 2),
        MEAN: (0.375, 6),  # not 3 of 6: every frame counts alike
    }
    ndcg = pick(table, BAR, "", "ndcg")["0"].value
    assert ndcg == pytest.approx((1 + 1 / np.log2(11) + 1 / np.log2(6)) / 4)


def test_perplexity_is_exp_of_the_mean_over_frames(table: pd.DataFrame) -> None:
    held = pick(table, BAR, "", "perplexity")
    assert held["0"].value == pytest.approx(np.exp(2.0))
    assert held["2"].value == pytest.approx(np.exp(4.0))
    assert held[MEAN].value == pytest.approx(np.exp(3.0))
    assert "nll" not in set(table["metric"])


def test_differences_are_paired(table: pd.DataFrame) -> None:
    differences = pick(table, BAR, REFERENCE, "hr")
    assert differences["0"].value == pytest.approx(0.25)
    assert differences["2"].value == pytest.approx(-0.5)
    assert differences[MEAN].value == pytest.approx(-0.125)
    ratio = pick(table, BAR, REFERENCE, "perplexity")[MEAN]
    assert (ratio.value, ratio.ci_low, ratio.ci_high) == (1.0, 1.0, 1.0)  # whoever is drawn, both are as likely
    assert not pick(table, REFERENCE, REFERENCE, "hr")
    other = compare(table, REFERENCE, FLOORS[1])  # at 99 everywhere
    assert (other.mean.value, other.above, other.frames) == (0.5, 2, 2)


def test_intervals_are_over_users_drawn_for_all_frames_at_once(results: list[FrameResult], table: pd.DataFrame) -> None:
    """Ann is in both frames: draws by hand, with the generator that the bootstrap documents."""
    users = ["ann", "bob", "cat", "dan", "ann", "eve"]
    code = pd.factorize(np.array(users))[0]
    hit, frame = np.array([1, 1, 1, 0, 0, 0.0]), np.array([0, 0, 0, 0, 2, 2])
    generator, means = np.random.default_rng(0), []
    for _ in range(200):
        weight = np.bincount(generator.integers(5, size=5), minlength=5)[code]
        per_frame = [
            (weight * hit)[frame == one].sum() / weight[frame == one].sum()
            for one in (0, 2)
            if weight[frame == one].sum()
        ]
        if per_frame:
            means.append(np.mean(per_frame))
    number = pick(table, BAR, "", "hr")[MEAN]
    assert (number.ci_low, number.ci_high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    again = measure(results, 200, 0)
    pd.testing.assert_frame_equal(again, table)
    assert not measure(results, 200, 1).equals(table)


def test_cases_without_history_are_left_out() -> None:
    result = result_of(0, {BAR: [0, 99]}, ["ann", "bob"])
    rows = result.rows.assign(has_history=result.rows["user_id"] == "ann")
    table = measure([replace(result, rows=rows)], 20, 0)
    assert pick(table, BAR, "", "hr")["0"].value == 1.0
    assert pick(table, BAR, "", "hr")[MEAN].n == 1
    with pytest.raises(ValueError, match="no frame has a case of a user with history"):
        measure([replace(result, rows=rows.assign(has_history=False))], 20, 0)


def test_contenders_on_other_cases_are_an_error(results: list[FrameResult]) -> None:
    rows = results[0].rows
    fewer = rows.drop(index=rows.index[(rows["contender"] == "offline") & (rows["user_id"] == "bob")])
    with pytest.raises(ValueError, match="not ranked on the same cases"):
        measure([replace(results[0], rows=fewer)], 20, 0)


def test_a_likelihood_that_a_frame_lacks_is_left_out_of_its_mean() -> None:
    first, second = result_of(0, {}, ["ann"], nll=2.0), result_of(1, {}, ["bob"], nll=float("nan"))
    held = pick(measure([first, second], 20, 0), BAR, "", "perplexity")
    assert np.isnan(held["1"].value)
    assert held[MEAN].value == pytest.approx(np.exp(2.0))


def test_the_bar(table: pd.DataFrame, results: list[FrameResult]) -> None:
    missed = compare(table, BAR)
    assert (missed.held, missed.above, missed.frames) == (False, 1, 2)
    held = compare(measure(results[:1], 20, 0), BAR)
    assert (held.held, held.above, held.frames) == (True, 1, 1)
    assert not compare(measure([result_of(0, {}, USERS)], 20, 0), BAR).held  # a tie is not above


def test_the_page(table: pd.DataFrame, results: list[FrameResult], tmp_path: Path) -> None:
    text = page(table, results, online_settings(tmp_path, epochs=3, seed=7), "online.png")
    for said in (
        "`sasrec` on toy, split fraction 0.7, frame day: 3 frames from 2020-01-08 05:00 to 2020-01-11 05:00",
        "latest 4 days, which took 2 seconds",
        "All: 3 epochs, no validation, seed 7.",
        "6 cases of users with history (of 6)",
        "**missed**, -0.1250",
        "above it in 1 of 2 frames",
        "| HR@10 against recent_popularity, frames above | HR@10 against decayed_popularity, frames above |",
        "](online.png)",
        "Outbrain",
        "| 2020-01-10 05:00 | 2 ",
    ):
        assert said in " ".join(text.split()), said
    for name in NAMES:
        shown = f"{name} (floor)" if name in FLOORS else name
        assert any(line.startswith(f"| {shown} ") for line in text.splitlines()), name


def test_the_figure_is_a_picture_of_these_numbers(
    table: pd.DataFrame, results: list[FrameResult], tmp_path: Path
) -> None:
    png = draw(table, results, online_settings(tmp_path))
    assert png == draw(table, results, online_settings(tmp_path))
    assert png.startswith(b"\x89PNG")
    assert png != draw(measure(results[:1], 20, 0), results, online_settings(tmp_path))
