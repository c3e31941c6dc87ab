"""The cold-items study: its choice, its table and page, and real nets on items with a known right answer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from assets import keys
from assets.config import ConfigError, Settings, SplitConfig
from assets.evaluation.studies import cold_items
from assets.evaluation.studies.assets import cold_items as asset
from assets.evaluation.studies.cold_cases import METRICS, cold_cases, cold_metrics, random_metrics
from assets.evaluation.studies.cold_items import TRENDS, VARIANTS, chosen, make, trial_path, with_trend
from assets.evaluation.studies.cold_page import markdown
from assets.evaluation.studies.cold_table import DIFFERENCE, HRNN_META, RANDOM, RATIO, VALUE, cold_table
from assets.evaluation.studies.files import read_study, table_path
from assets.evaluation.studies.registry import find
from assets.evaluation.studies.variants import Variant, trials
from assets.metrics import Floats
from assets.storage import Storage, read_parquet
from assets.stream import load_tables
from assets.training.checkpoints import recommender_of
from assets.training.train import train
from tests.assets.evaluation.studies.cold_toy import USERS, cold_settings, cold_tables


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return cold_tables(tmp_path_factory.mktemp("cold"))


def settings_of(storage: Storage, seeds: int = 1) -> Settings:
    return cold_settings(storage.root.parent, seeds)


def measured(storage: Storage, variant: Variant) -> tuple[Floats, Floats]:
    """[U, 5] of a trained variant, and of random choice."""
    settings, tables = settings_of(storage), load_tables(storage)
    cases = cold_cases(tables)
    trained = train(variant.model, tables, variant.settings(settings, 0))
    return cold_metrics(recommender_of(trained, tables), tables, cases), random_metrics(cases)


def test_features_find_cold_items(storage: Storage) -> None:
    """Half of the held-out items have the user's colour, and they are all of the relevant ones."""
    values, chance = measured(storage, with_trend(VARIANTS[0], 0.0))
    for metric in ("NDCG@5", "P@5"):
        column = METRICS.index(metric)
        assert values[:, column].mean() > 1.5 * chance[:, column].mean(), metric


def test_ids_alone_are_random_choice(storage: Storage) -> None:
    """All held-out items share the OOV row, so a net without features ties them, whatever the user."""
    values, chance = measured(storage, Variant("gru", "gru"))
    np.testing.assert_allclose(values, chance)


def test_a_table_by_hand() -> None:
    """Two users; random choice has .1 and .3 of everything, hrnn_meta .4 and .6 over its two seeds, a third .2."""
    rows: dict[str, Sequence[Floats]] = {
        RANDOM: [np.array([[0.1] * 5, [0.3] * 5])],
        HRNN_META: [np.array([[0.3] * 5, [0.5] * 5]), np.array([[0.5] * 5, [0.7] * 5])],
        "other": [np.full((2, 5), 0.2)],
    }
    table = cold_table(rows, np.array([4, 7]), cold_settings(Path()))
    held = {(row["variant"], row["kind"], row["reference"], row["metric"]): row for row in table.to_dict("records")}
    assert len(held) == len(table) == 5 * (3 + 2 + 1)
    value = held[HRNN_META, VALUE, "", "MRR"]
    assert value["value"] == pytest.approx(0.5)
    assert (value["ci_low"], value["ci_high"]) == pytest.approx((0.4, 0.6))
    assert (value["users"], value["seeds"]) == (2, 2)
    ratio = held[HRNN_META, RATIO, RANDOM, "NDCG@5"]
    assert ratio["value"] == pytest.approx(0.5 / 0.2)
    assert (ratio["ci_low"], ratio["ci_high"]) == pytest.approx((0.6 / 0.3, 0.4 / 0.1))  # paired: one user alone
    gap = held[HRNN_META, DIFFERENCE, "other", "P@25"]
    assert gap["value"] == pytest.approx(0.3)
    assert (gap["ci_low"], gap["ci_high"]) == pytest.approx((0.2, 0.4))


def made_up(times: float, storage: Storage) -> str:
    """The page where hrnn_meta has so many times random choice."""
    tables, settings = load_tables(storage), settings_of(storage)
    cases = cold_cases(tables)
    base = random_metrics(cases)
    values = {RANDOM: [base], HRNN_META: [times * base], "two_tower, features only": [1.5 * base]}
    table = cold_table(values, cases.users, settings)
    again = cold_table({RANDOM: [base], "tau 0": [2 * base], "tau 1": [base]}, cases.users, settings)
    return markdown(table, again, 0.0, cases, settings)


def test_the_page_says_whether_the_bars_are_reached(storage: Storage) -> None:
    both = made_up(2.0, storage)
    assert "NDCG@5: `hrnn_meta` has 2.00 [2.00, 2.00] times random choice, at or above the bar of 2." in both
    assert "NDCG@25: `hrnn_meta` has 2.00 [2.00, 2.00] times random choice, at or above the bar of 1.8." in both
    one = made_up(1.9, storage)
    assert "times random choice, below the bar of 2." in one
    assert "times random choice, at or above the bar of 1.8." in one


def test_the_page_says_what_it_rests_on(storage: Storage) -> None:
    text = made_up(2.0, storage)
    cases = cold_cases(load_tables(storage))
    words = f"{USERS} users with {len(cases.rows)} relevant pairs, 1 users without history left out"
    for said in (words, "toy, split held_out_items, seed 0; 10 held-out items", "With tau 0, by NDCG@25", "ml-1m"):
        assert said in text
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in text.splitlines() if line.startswith("| ")]
    paper = next(row for row in rows if row[0] == "paper (ml-1m): hrnn_meta")
    assert paper[1:] == ["0.323", "0.162", "0.133", "0.208", "0.388"]
    assert ["tau 0", *["2.00 [2.00, 2.00]"] * 5] in rows
    gap = 0.5 * random_metrics(cases)[:, METRICS.index("NDCG@5")].mean()
    assert f"- `hrnn_meta` minus `two_tower, features only`: NDCG@5 {gap:+.3f}" in text


def test_the_choice_is_by_its_metric_alone() -> None:
    low, high = np.full((3, 5), 0.9), np.zeros((3, 5))
    low[:, METRICS.index("NDCG@25")], high[:, METRICS.index("NDCG@25")] = 0.3, 0.4
    assert chosen({0.0: [low], 1.0: [high]}) == 1.0
    assert chosen({0.0: [high], 1.0: [low]}) == 0.0
    assert chosen({0.0: [high], 1.0: [high]}) == 0.0


def test_variants_differ_in_what_their_names_say(storage: Storage) -> None:
    settings = Settings(dataset="ml-100k")
    configs: dict[str, Any] = {
        each.name: with_trend(each, 1.0).preset(settings).model_dump()["net"] for each in VARIANTS
    }
    heads = {name: config["head"].pop("fixed", "none") for name, config in configs.items()}
    assert list(heads.values()) == [None, 0.5, 1.0, "none"]
    own, half, one, tower = configs.values()
    assert own == half == one
    assert tower["items"]["ids"] is False
    assert all(config["trend"] == {"weight": 1.0, "learned": False} for config in configs.values())
    assert with_trend(VARIANTS[0], 0.0).preset(settings).model_dump()["net"]["trend"]["weight"] == 0.0


class Trainings:
    """Counts trainings, which are of a random model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, int, float, int]] = []
        monkeypatch.setattr(cold_items, "train", self.train)
        monkeypatch.setattr(cold_items, "recommender_of", lambda trained, _: trained)
        monkeypatch.setattr(cold_items, "cold_metrics", self.metrics)

    def train(self, model: str, tables: Any, settings: Settings) -> Any:
        tau = settings.training.hyper_parameters[model]["trend"]["weight"]
        self.made.append((model, settings.training.seed, tau, len(tables.catalog)))
        return type("Trained", (), {"best_epoch": 1, "tau": tau})

    def metrics(self, model: Any, tables: Any, cases: Any) -> Floats:
        return random_metrics(cases) * (2 - model.tau)


def test_what_is_known_is_not_trained_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, settings = Trainings(monkeypatch), settings_of(storage, seeds=2)
    said: list[str] = []
    result = dg.materialize([asset], resources={"storage": storage, "settings": settings})
    table = read_parquet(table_path(storage, "cold_items"))
    nested = [each for each in runs.made if each[3] < len(load_tables(storage).catalog)]
    assert [each[:3] for each in nested] == [("hrnn_meta", 0, tau) for tau in TRENDS]
    assert [each[:3] for each in runs.made[2:]] == [(each.model, seed, 0.0) for each in VARIANTS for seed in (0, 1)]
    again = make(storage, settings, said.append)
    assert len(runs.made) == 2 + 2 * len(VARIANTS)
    assert any(line.startswith("tau 0 chosen") for line in said)
    assert again.equals(table)
    study = find("cold_items")
    assert study.split == {"kind": settings.split.kind}
    held = read_study(storage, settings, study)
    assert held.table.equals(table)
    (shown,) = (each.metadata for each in result.asset_materializations_for_node("__".join(keys.COLD_ITEMS)))
    assert shown["table"].value == held.text
    assert shown["dagster/row_count"].value == len(table)
    assert held.account["config"]["tau"] == 0.0
    assert set(held.account["config"]["variants"]) == {each.name for each in VARIANTS}

    (known,) = trials([with_trend(VARIANTS[0], 0.0)], settings_of(storage))
    trial_path(storage, "test", known).unlink()
    monkeypatch.setattr(cold_items, "FORMAT", 2)
    make(storage, settings, said.append)
    assert len(runs.made) == 2 * (2 + 2 * len(VARIANTS))  # numbers of other code say nothing


def test_another_split_is_refused(storage: Storage) -> None:
    settings = settings_of(storage).model_copy(update={"split": SplitConfig()})
    with pytest.raises(ConfigError, match=r"needs split.kind held_out_items, it is median_time"):
        make(storage, settings, print)


def test_a_wrong_key_is_told_before_anything_is_trained(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Trainings(monkeypatch)
    wrong = replace(VARIANTS[-1], overrides={"no_such": 1})
    monkeypatch.setattr(cold_items, "VARIANTS", (*VARIANTS[:-1], wrong))
    with pytest.raises(ConfigError, match="no_such"):
        make(storage, settings_of(storage), print)
    assert not runs.made
