"""Which variant reads what, and what the table says of made-up runs."""

import math
from typing import Any

import pytest

from assets.config import Settings
from assets.evaluation.studies import feature_groups
from assets.evaluation.studies.feature_groups import BASE, FULL, GROUPS, TREND, VARIANTS, markdown, pairs, variant
from assets.training.presets import FitPreset
from tests.assets.evaluation.studies.made import run, settings

SEQUENCE, SESSION, USER, ITEM, FEEDBACK = range(5)
NETS = [group for group in GROUPS if group.with_trend is None]


def config(name: str, trend: bool = False, dataset: str = "ml-100k") -> FitPreset:
    (group,) = (group for group in GROUPS if group.name == name)
    made = variant(group, trend).preset(Settings(dataset=dataset))
    assert isinstance(made, FitPreset)
    return made


@pytest.mark.parametrize("group", NETS, ids=lambda group: group.name)
@pytest.mark.parametrize("dataset", ["ml-100k", "movietweetings-100k", "simulated"])
def test_a_net_reads_what_its_row_says(group: feature_groups.Group, dataset: str) -> None:
    net = config(group.name, dataset=dataset).net
    users: Any = net.users
    assert (users.session is not None) == group.reads[SESSION]
    assert (users.profile is not None and users.request is not None) == group.reads[USER]
    assert (users.feedback is not None) == group.reads[FEEDBACK]
    assert (net.items.kind in ("features", "mixed")) == group.reads[ITEM]
    assert (users.history_length > 1) == group.reads[SEQUENCE]
    assert (users.profile is None) == (users.request is None)


@pytest.mark.parametrize("group", NETS, ids=lambda group: group.name)
def test_the_trend_is_off_or_one(group: feature_groups.Group) -> None:
    for trend in (False, True):
        made = config(group.name, trend)
        assert (made.net.trend.weight, made.net.trend.learned) == (float(trend), False)
        assert made.monitor == "log_likelihood"
    without, with_trend = config(group.name).model_dump(), config(group.name, True).model_dump()
    del without["net"]["trend"], with_trend["net"]["trend"]
    assert without == with_trend


def test_each_row_adds_one_group_and_keeps_the_others() -> None:
    steps = [group.reads for group in NETS[1:]]
    assert [sum(reads) for reads in steps] == [1, 2, 3, 4, 5]
    for more, less in zip(steps[1:], steps, strict=False):
        assert all(after or not before for after, before in zip(more, less, strict=True))


def test_everything_is_the_registered_model() -> None:
    registered = Settings(dataset="ml-100k")
    full = config(FULL, True).model_dump()
    overrides = {"monitor": "log_likelihood", "trend.learned": False, "trend.weight": 1.0}
    made = feature_groups.Variant("m", "hrnn_meta", overrides)
    assert full == made.preset(registered).model_dump()


def test_floors_are_counts_without_and_with_the_trend() -> None:
    counts = GROUPS[0]
    assert [variant(counts, trend).model for trend in (False, True)] == ["popularity", "decayed_popularity"]


def made_up(perplexity: dict[str, float]) -> str:
    """The section of runs with these perplexities, 100 where nothing is said."""
    above = [3] * 20
    runs = [run(each, above, math.log(perplexity.get(each.name, 100.0))) for each in VARIANTS]
    return markdown(runs, settings())


def falling() -> dict[str, float]:
    return {group.name: 500.0 - 50 * place for place, group in enumerate(GROUPS)}


def test_the_table_has_a_row_per_group_without_and_with_the_trend() -> None:
    text = made_up(falling())
    rows = [line for line in text.splitlines() if line.startswith(f"| {FULL}")]
    assert len(rows) == 2
    cells = [cell.strip() for cell in rows[0].split("|")][1:-1]
    assert cells[1:6] == ["x"] * 5
    assert cells[6] == "200.0 [200.0, 200.0]"
    assert cells[7] == "0.800 [0.800, 0.800]"  # over the row above, 250
    assert cells[8] == "0.500 [0.500, 0.500]"  # over gru, 400
    assert cells[-1] == "410"
    assert [cell.strip() for cell in rows[1].split("|")][-2] == ""  # the paper has one table


def test_the_verdict_names_the_steps_that_do_not_fall() -> None:
    good = made_up(falling())
    assert "- Without a trend: perplexity falls at every step;" in good
    assert "`hrnn_meta` has 0.500 [0.500, 0.500] of `gru`'s, at or below the bar of 0.95." in good
    bad = made_up({**falling(), "+ user": 395.0, "+ item features": 395.0, FULL: 390.0})
    assert "perplexity does not fall at + user, + item features;" in bad
    assert "`hrnn_meta` has 0.975 [0.975, 0.975] of `gru`'s, above the bar of 0.95." in bad


def test_pairs_stay_within_their_half_but_for_what_the_trend_adds() -> None:
    found = pairs()
    assert len(found) == len(set(found))
    across = [pair for pair in found if pair[0].endswith(TREND) != pair[1].endswith(TREND)]
    assert across == [(BASE + TREND, BASE), (FULL + TREND, FULL)]
    assert (FULL, BASE) in found
