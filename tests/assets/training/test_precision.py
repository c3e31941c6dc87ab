"""Mixed precision, on the CPU: every net trains under it, near to float32, and its weights stay float32."""

import pytest
import torch

from assets.config import Settings
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.loop import fit, seeded
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset, Precision, preset
from assets.training.registry import MODELS
from assets.training.train import prepare
from models.base import Net

NETS = [name for name, entry in MODELS.items() if entry.kind == "net"]

NEAR = {"ihm_dat": 0.02}
"""Of the losses of one epoch where .01 is not enough: weights changed at the start by as much as bfloat16 rounds, .4 %,
move the float32 loss of ``ihm_dat`` by up to .6 %, of ``dat``, ``sasrec`` and ``cdn`` by .1 (five draws each)."""


@pytest.fixture(scope="module")
def boarded(board: Storage) -> DatasetTables:
    return load_tables(board)


def config_of(model: str, precision: Precision) -> FitPreset:
    chosen = preset(model, Settings().training, "simulated")
    assert isinstance(chosen, FitPreset)
    return FitPreset(**{**chosen.model_dump(), "precision": precision, "max_epochs": 1, "negatives": 16})


def trained(model: str, precision: Precision, tables: DatasetTables) -> tuple[Net, float]:
    """A net after one epoch from the seed, and its loss."""
    past, config = before_cutoff(tables), config_of(model, precision)
    with seeded(0, "cpu"):
        ready = prepare(config, past, past.stream, past.cutoff, Settings())
        done = fit(ready.net, ready.batches, config, "cpu", 1)
    return done.net, done.history[0]["loss"]


@pytest.mark.parametrize("model", NETS)
def test_the_loss_is_near_and_weights_stay_wide(model: str, boarded: DatasetTables) -> None:
    (wide, loss), (mixed, mixed_loss) = (trained(model, one, boarded) for one in ("float32", "bfloat16"))
    assert mixed_loss == pytest.approx(loss, rel=NEAR.get(model, 0.01))
    weights = mixed.state_dict()
    assert {name: value.dtype for name, value in weights.items()} == {n: v.dtype for n, v in wide.state_dict().items()}
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_products_of_towers_are_narrow_and_so_differ(boarded: DatasetTables) -> None:
    (_, loss), (_, mixed_loss) = (trained("sasrec", one, boarded) for one in ("float32", "bfloat16"))
    assert loss != mixed_loss
