"""The decay judgement: by hand, on planted decay, and how often it errs when nothing or just the tolerated was lost."""

import numpy as np
import pandas as pd
import pytest

from assets.champion.quality.judgement import COLUMNS, Alert, judge
from assets.config import AlertConfig

CONFIG = AlertConfig(min_cases=4, tolerance=0.1)
NEVER = 99
"""Candidates above the target: NDCG@10 is 0."""


def ranks_of(users, above, contender="champion", known=True, first=0):
    """A case per user; NDCG@10 is 1 for 0 above, 1 / log2(above + 2) below 10, else 0."""
    frame = pd.DataFrame({"user_id": list(users), "above": list(above)})
    return frame.assign(
        item_id="i",
        source_row=range(first, first + len(frame)),
        timestamp=pd.Timestamp("2024-03-01"),
        contender=contender,
        has_history=known,
        tied=0,
    )[list(COLUMNS)]


def with_floor(champion, above):
    return pd.concat([champion, champion.assign(contender="floor", above=list(above))], ignore_index=True)


def replay(seed, chances, users=150, cases=600):
    """Reference and recent ranks in which users hit with these chances, some users more than others."""
    generator = np.random.default_rng(seed)
    liking = generator.uniform(0.5, 1.5, users)
    sides = []
    for chance in chances:
        who = generator.integers(users, size=cases)
        hit = generator.random(cases) < chance * liking[who]
        above = np.where(hit, generator.integers(0, 3, cases), NEVER)
        sides.append(ranks_of([f"u{one}" for one in who], above))
    return sides


def test_ratio_and_differences_by_hand() -> None:
    reference = with_floor(ranks_of("abcd", [0, 0, 0, 0]), [0, 0, NEVER, NEVER])
    recent = with_floor(ranks_of("abcd", [1, 1, 1, 1], first=4), [0, 0, 0, 0])
    alert = judge(reference, recent, CONFIG, 100, 0)
    lower = 1 / np.log2(3)
    assert (alert.reference.cases, alert.reference.value) == (4, 1.0)
    assert alert.recent.value == pytest.approx(lower)
    assert (alert.ratio, alert.ci_low, alert.ci_high) == pytest.approx((lower, lower, lower))
    assert alert.against_floor == {"reference": 0.5, "recent": pytest.approx(lower - 1)}
    assert alert.alerted
    assert alert.behind_floor
    assert alert.reason == (
        "NDCG@10 is 0.63 [0.63, 0.63] of what it was on the first days: lower, the whole interval lies below 0.90"
        "; the floor, which does not forget, is at 2.00; on the recent days the floor beats it"
    )
    assert alert.floor_ratio == 2.0
    assert alert.relative == pytest.approx(lower / 2)


def test_days_that_are_as_hard_for_the_floor_do_not_alert() -> None:
    """Both lost the same: it is the days. The floor lost less: the champion forgot."""
    users = [f"u{at}" for at in range(50)]
    reference = with_floor(ranks_of(users, [0] * 50), [0] * 50)
    both = judge(reference, with_floor(ranks_of(users, [2] * 50, first=50), [2] * 50), CONFIG, 100, 0)
    assert (both.relative, both.relative_low, both.relative_high) == (1.0, 1.0, 1.0)
    assert not both.alerted
    assert both.reason.endswith("the floor, which does not forget, is at 0.50, so the days became as hard for it")
    alone = judge(reference, with_floor(ranks_of(users, [2] * 50, first=50), [0] * 50), CONFIG, 100, 0)
    assert (alone.relative, alone.alerted) == (0.5, True)


def test_a_champion_that_lost_nothing_is_not_alerted_of_because_the_floor_gained() -> None:
    users = [f"u{at}" for at in range(50)]
    reference = with_floor(ranks_of(users, [0] * 50), [2] * 50)
    alert = judge(reference, with_floor(ranks_of(users, [0] * 50, first=50), [0] * 50), CONFIG, 100, 0)
    assert (alert.ratio, alert.relative, alert.alerted) == (1.0, 0.5, False)


def test_a_champion_that_the_floor_beats_is_alerted_of_though_it_was_never_better() -> None:
    users = [f"u{at}" for at in range(50)]
    reference = with_floor(ranks_of(users, [2] * 50), [2] * 50)
    behind = judge(reference, with_floor(ranks_of(users, [2] * 50, first=50), [0] * 50), CONFIG, 100, 0)
    assert (behind.ratio, behind.behind_floor, behind.alerted) == (1.0, True, True)
    assert behind.reason.endswith("on the recent days the floor beats it")
    undecided = with_floor(ranks_of(users, [2] * 50, first=50), [0, NEVER] * 25)
    level = judge(reference, undecided, CONFIG, 100, 0)
    assert (level.behind_floor, level.alerted) == (False, False)


def test_where_the_floor_has_nothing_to_lose_the_champions_own_loss_decides() -> None:
    users = [f"u{at}" for at in range(50)]
    reference = with_floor(ranks_of(users, [0] * 50), [NEVER] * 50)
    alert = judge(reference, with_floor(ranks_of(users, [2] * 50, first=50), [0] * 50), CONFIG, 100, 0)
    assert (alert.floor_ratio, alert.relative_high, alert.alerted) == (None, None, True)


def test_one_hit_on_the_first_days_is_too_little_to_lose() -> None:
    """In a third of the draws nobody has it; the others all say that everything is lost."""
    users = [f"u{at}" for at in range(300)]
    reference = with_floor(ranks_of(users, [0] + [NEVER] * 299), [NEVER] * 300)
    recent = with_floor(ranks_of(users, [NEVER] * 300, first=300), [NEVER] * 300)
    alert = judge(reference, recent, CONFIG, 200, 0)
    assert (alert.alerted, alert.ratio, alert.ci_low, alert.ci_high) == (False, 0.0, None, None)
    assert alert.reason.startswith("not judged: too few draws of users hold a hit on the reference days")


def test_a_floor_of_one_hit_is_no_measure_of_the_days() -> None:
    users = [f"u{at}" for at in range(50)]
    reference = with_floor(ranks_of(users, [0] * 50), [0] + [NEVER] * 49)
    alert = judge(reference, with_floor(ranks_of(users, [2] * 50, first=50), [NEVER] * 50), CONFIG, 100, 0)
    assert (alert.relative_low, alert.relative_high, alert.alerted) == (None, None, True)


@pytest.mark.parametrize("hits", [1, 2, 3])
def test_a_floor_that_nearly_fell_to_nothing_says_that_the_days_became_hard(hits: int) -> None:
    users = [f"u{at}" for at in range(200)]
    reference = with_floor(ranks_of(users, [0] * 100 + [NEVER] * 100), [NEVER] * 160 + [0] * 40)
    recent = with_floor(ranks_of(users, [0] * 60 + [NEVER] * 140, first=200), [NEVER] * (200 - hits) + [0] * hits)
    alert = judge(reference, recent, CONFIG, 500, 0)
    assert not alert.alerted
    assert "so the days became as hard for it" in alert.reason


def test_what_is_tolerated_does_not_alert() -> None:
    sides = ranks_of("abcd", [0, 0, 0, 0]), ranks_of("abcd", [1, 1, 1, 1], first=4)
    assert not judge(*sides, CONFIG.model_copy(update={"tolerance": 0.4}), 100, 0).alerted
    assert not judge(*reversed(sides), CONFIG, 100, 0).alerted


def test_users_are_drawn_together() -> None:
    """Everybody is as on the first days: whoever is drawn, the ratio is 1. Drawn apart it would spread."""
    users, above = [f"u{at}" for at in range(40)], [0, NEVER] * 20
    alert = judge(ranks_of(users, above), ranks_of(users, above, first=40), CONFIG, 200, 0)
    assert (alert.ratio, alert.ci_low, alert.ci_high) == (1.0, 1.0, 1.0)
    others = [f"v{at}" for at in range(40)]
    apart = judge(ranks_of(users, above), ranks_of(others, above, first=40), CONFIG, 200, 0)
    assert apart.ci_low is not None
    assert apart.ci_low < 0.8


def test_one_user_decides_little() -> None:
    """A thousand cases of one user are one draw: the interval holds both who kept and who lost everything."""
    users = ["heavy"] * 1000 + ["a", "b", "c"]
    recent = ranks_of(users, [NEVER] * 1000 + [0, 0, 0], first=1003)
    alert = judge(ranks_of(users, [0] * 1003), recent, CONFIG, 200, 0)
    assert alert.ratio is not None
    assert alert.ratio < 0.01
    assert not alert.alerted


def test_a_single_user_on_both_sides_has_no_spread() -> None:
    """There is one way to draw one user; ``min_cases`` does not count users, and the doc says so."""
    alert = judge(ranks_of("aaaa", [0] * 4), ranks_of("aaaa", [1] * 4, first=4), CONFIG, 50, 0)
    assert alert.ci_low == alert.ci_high == pytest.approx(1 / np.log2(3))


@pytest.mark.parametrize(
    ("reference", "recent", "reason"),
    [
        (ranks_of("abc", [0] * 3), ranks_of("abcd", [0] * 4), "3 cases on the reference days, 4 are needed"),
        (ranks_of("abcd", [0] * 4), ranks_of("", []), "0 cases on the recent days, 4 are needed"),
        (ranks_of("abcd", [NEVER] * 4), ranks_of("abcd", [0] * 4), "NDCG@10 was 0 on the reference days"),
        (ranks_of("abcd", [0] * 4), ranks_of("abcd", [0] * 4, known=False), "0 cases on the recent days"),
    ],
)
def test_what_cannot_be_judged_says_why(reference, recent, reason) -> None:
    alert = judge(reference, recent, CONFIG, 50, 0)
    assert (alert.alerted, alert.ratio, alert.ci_high) == (False, None, None)
    assert reason in alert.reason


def test_a_case_that_was_measured_twice_counts_once() -> None:
    reference = ranks_of("abcd", [0] * 4)
    recent = ranks_of("abcd", [0, 0, 0, NEVER], first=4)
    twice = pd.concat([recent, recent[recent["above"] == 0]], ignore_index=True)
    assert judge(reference, twice, CONFIG, 50, 0) == judge(reference, recent, CONFIG, 50, 0)


def test_planted_decay_is_found() -> None:
    found = [judge(*replay(seed, (0.4, 0.24)), AlertConfig(), 100, 0).alerted for seed in range(20)]
    assert sum(found) >= 19


def test_stationary_replays_do_not_alert() -> None:
    found = [judge(*replay(seed, (0.4, 0.4)), AlertConfig(), 100, 0).alerted for seed in range(50)]
    assert sum(found) == 0


def test_at_the_edge_of_what_is_tolerated_alerts_are_as_rare_as_the_interval_promises() -> None:
    """True ratio 0.9, the hardest that should stay silent: 2.5 % in the limit; 7 of 50 are beyond p = 0.001."""
    found = [judge(*replay(seed, (0.4, 0.36)), AlertConfig(), 100, 0).alerted for seed in range(50)]
    assert sum(found) <= 6


def test_as_json_and_back() -> None:
    alert = judge(ranks_of("abcd", [0] * 4), ranks_of("abcd", [1] * 4, first=4), CONFIG, 50, 0)
    assert Alert.from_json(alert.to_json()) == alert
