"""Who wins a contest."""

import pytest

from assets.champion.verdict import judge, not_comparable
from assets.config import RetrainingConfig
from assets.evaluation.compare import Difference

CONFIG = RetrainingConfig(min_cases=100)
NAN = float("nan")


@pytest.mark.parametrize(
    ("difference", "cases", "outcome"),
    [
        (Difference(0.02, 0.001, 0.04), 100, "challenger wins"),
        (Difference(0.02, 0.001, 0.04), 99, "too few cases"),
        (Difference(0.02, 0.0, 0.04), 100, "champion stays"),
        (Difference(0.02, -0.001, 0.04), 10_000, "champion stays"),
        (Difference(-0.02, -0.04, -0.01), 100, "champion stays"),
        (Difference(NAN, NAN, NAN), 100, "champion stays"),
        (Difference(0.02, 0.001, float("inf")), 100, "champion stays"),
        (None, 0, "too few cases"),
    ],
)
def test_only_better_outside_the_interval_on_cases_enough_wins(
    difference: Difference | None, cases: int, outcome: str
) -> None:
    verdict = judge(difference, cases, CONFIG)
    assert verdict.outcome == outcome
    assert verdict.promoted == (outcome == "challenger wins")


def test_reasons_hold_the_numbers() -> None:
    assert judge(Difference(0.02, 0.001, 0.04), 1234, CONFIG).reason == (
        "the challenger is better: +0.0200 [+0.0010, +0.0400] ndcg@10 over 1,234 cases"
    )
    assert "worse" in judge(Difference(-0.02, -0.04, -0.01), 100, CONFIG).reason
    assert "not finite" in judge(Difference(NAN, NAN, NAN), 100, CONFIG).reason
    assert judge(None, 7, CONFIG).reason == "7 cases, wanted are 100 (retraining.min_cases)"


def test_a_champion_that_knows_the_window_is_no_measure() -> None:
    verdict = not_comparable("2024-03-05Z", "2024-03-04Z")
    assert (verdict.outcome, verdict.promoted) == ("not comparable", False)
    assert "until 2024-03-05Z, after the window began at 2024-03-04Z" in verdict.reason
