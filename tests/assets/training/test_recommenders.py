"""Every registered model under the contract suite."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pytest

from assets.training.presets import PRESETS
from assets.training.registry import MODELS
from tests.models.contract import CountingContract, InductiveContract, PersonalisedContract
from tests.support import Row

DAY = np.timedelta64(1, "D")
COUNTING = ("popularity", "recent_popularity", "decayed_popularity")
FIT: Final = {"dim": 16, "learning_rate": 0.005, "batch_size": 128, "max_epochs": 5, "patience": 5, "negatives": 32}
PARTS: Final = {"users.layers": 1, "users.history_length": 8, "users.hidden": 16, "users.dropout": 0.0}
ITEM_PARTS: Final = {"items.heads": 2, "items.history_length": 6, "items.self_attention": 0.5, "items.user_std": 0.5}
"""Small parts, for towers that have them, be it inside another tower; an item's users weigh much from the start."""

OWN: Final = {"hgru": {"learning_rate": 0.01}}
"""The board has a session per day, so each step of hgru passes through three cells, which dampen its gradients."""


def names(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from names(value, f"{prefix}{name}.")


def small(model: str) -> dict[str, Any]:
    known = set(names(PRESETS[model].model_dump()["net"]))
    parts = {**PARTS, **ITEM_PARTS}
    inside = {path.replace(".", ".inner.", 1): value for path, value in parts.items()}
    return {
        **FIT,
        **OWN.get(model, {}),
        **{path: value for path, value in {**parts, **inside}.items() if path in known},
    }


def is_inductive(model: str) -> bool:
    return any(name.endswith("history_length") for name in names(PRESETS[model].model_dump()["net"]["items"]))


NETS = [name for name, entry in MODELS.items() if entry.kind == "net"]


@pytest.mark.parametrize("world", [name for name in NETS if not is_inductive(name)], indirect=True)
class TestNets(PersonalisedContract):
    @classmethod
    def hyper_parameters(cls, model: str) -> Mapping[str, Any]:
        return small(model)


@pytest.mark.parametrize("world", [name for name in NETS if is_inductive(name)], indirect=True)
class TestInductiveNets(InductiveContract):
    @classmethod
    def hyper_parameters(cls, model: str) -> Mapping[str, Any]:
        return small(model)


@pytest.mark.parametrize("world", ["popularity"], indirect=True)
class TestPopularity(CountingContract):
    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        return sum(one == item and np.datetime64(time) < min(instant, cutoff) for _, one, time in rows)


@pytest.mark.parametrize("world", ["recent_popularity"], indirect=True)
class TestRecentPopularity(CountingContract):
    @classmethod
    def hyper_parameters(cls, model: str) -> Mapping[str, Any]:
        return {"days": 4}

    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        return sum(one == item and instant - 4 * DAY <= np.datetime64(time, "us") < instant for _, one, time in rows)


@pytest.mark.parametrize("world", ["decayed_popularity"], indirect=True)
class TestDecayedPopularity(CountingContract):
    def expected_count(self, item: str, rows: list[Row], instant: np.datetime64, cutoff: np.datetime64) -> float:
        ages = [(instant - np.datetime64(time, "us")) / DAY for _, one, time in rows if one == item]
        return sum(0.5 ** (age / 3) for age in ages if age > 0)


def test_every_registered_model_is_under_the_contract() -> None:
    assert {*NETS, *COUNTING} == set(MODELS)
    assert any(is_inductive(name) for name in NETS)
