"""Every registered model under the contract suite."""

from typing import ClassVar

import numpy as np

from assets.training.registry import MODELS
from tests.models.contract import CountingContract, PersonalisedContract, RecommenderContract
from tests.support import Row

SMALL = {"dim": 16, "learning_rate": 0.02, "batch_size": 128, "max_epochs": 12, "patience": 12, "dropout": 0.0}
DAY = np.timedelta64(1, "D")


class TestTwoTower(PersonalisedContract):
    model = "two_tower"
    hyper_parameters = SMALL


class TestSASRec(PersonalisedContract):
    model = "sasrec"
    hyper_parameters: ClassVar = {**SMALL, "history_length": 8, "negatives": 64}


class TestPopularity(CountingContract):
    model = "popularity"

    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        return sum(one == item and np.datetime64(time) < min(instant, cutoff) for _, one, time in rows)


class TestRecentPopularity(CountingContract):
    model = "recent_popularity"
    hyper_parameters: ClassVar = {"days": 4}

    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        return sum(one == item and instant - 4 * DAY <= np.datetime64(time, "us") < instant for _, one, time in rows)


class TestDecayedPopularity(CountingContract):
    model = "decayed_popularity"

    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        ages = [(instant - np.datetime64(time, "us")) / DAY for _, one, time in rows if one == item]
        return sum(0.5 ** (age / 3) for age in ages if age > 0)


def test_every_registered_model_is_under_the_contract() -> None:
    tested = {
        one.model
        for one in globals().values()
        if isinstance(one, type) and issubclass(one, RecommenderContract) and hasattr(one, "model")
    }
    assert tested == set(MODELS)
