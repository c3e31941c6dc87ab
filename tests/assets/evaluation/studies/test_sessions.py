"""What the sessions table says of made-up runs."""

from typing import Any

from assets.config import Settings
from assets.evaluation.studies.sessions import HIDDEN, MODELS, VARIANTS, markdown, name_of, pairs
from assets.evaluation.studies.variants import Run
from tests.assets.evaluation.studies.made import run, settings


def runs(**above: int) -> list[Run]:
    """Runs in which a model's targets all come behind so many items; ``hgru`` takes five times the CPU seconds."""
    return [
        run(
            each,
            [above.get(each.model, 3)] * 20,
            2.0,
            epoch_cpu_seconds=7.5 if each.model == "hgru" else 1.5,
            epoch_seconds=4.0 if each.model == "hgru" else 2.0,
            seconds=90.0 if each.model == "hgru" else 30.0,
        )
        for each in VARIANTS
    ]


def test_variants_are_the_registered_models_at_two_sizes() -> None:
    assert len(VARIANTS) == len(MODELS) * len(HIDDEN) == 6
    for each in VARIANTS:
        config: Any = each.preset(Settings(dataset="ml-100k")).model_dump()
        assert config["net"]["users"]["hidden"] == int(each.name.split(", ")[1])
        plain: Any = type(each)("m", each.model).preset(Settings(dataset="ml-100k")).model_dump()
        config["net"]["users"]["hidden"] = plain["net"]["users"]["hidden"]
        assert config == plain


def test_a_row_per_size_and_model() -> None:
    text = markdown(runs(), settings())
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in text.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows[1:]] == [[str(size), f"`{model}`"] for size in HIDDEN for model in MODELS]
    assert rows[1][2:4] == ["1.0000 [1.0000, 1.0000]", "7.4 [7.4, 7.4]"]
    assert rows[1][4:] == ["30.0", "2.00", "1.50", "5 of 7", "1,234", "0.26"]


def test_the_verdict_is_on_quality_and_time() -> None:
    level = markdown(runs(), settings())
    assert "`hrnn` reaches `hgru`'s quality" in level
    assert "takes 5.0 times the CPU seconds of an epoch of `hrnn`, at or above the bar of 4;" in level
    assert "2.0 times the seconds, and all of its training 3.0 times." in level
    worse = markdown(runs(hrnn=30), settings())
    assert "Hit@5 of `hrnn` minus `hgru` -1.0000 [-1.0000, -1.0000], so `hrnn` does not reach" in worse
    slow = [
        each if each.trial.variant.model != "hgru" else run(each.trial.variant, [3] * 20, 2.0, epoch_seconds=20.0)
        for each in runs()
    ]
    assert "below the bar of 4" in markdown(slow, settings())


def test_what_cannot_be_told_apart_reaches() -> None:
    """``hrnn`` hits for half of the users, ``hgru`` for the others and one more: the interval holds 0."""
    above = {"gru": [3] * 20, "hrnn": [3] * 9 + [30] * 11, "hgru": [30] * 10 + [3] * 10}
    text = markdown([run(each, above[each.model], 2.0) for each in VARIANTS], settings())
    assert "Hit@5 of `hrnn` minus `hgru` -0.0500 [-0." in text
    assert "so `hrnn` reaches `hgru`'s quality" in text


def test_pairs_are_at_the_same_size() -> None:
    assert pairs()[:2] == [(name_of("hrnn", 50), name_of("gru", 50)), (name_of("hrnn", 50), name_of("hgru", 50))]
    assert all(left.split(", ")[1] == right.split(", ")[1] for left, right in pairs())
