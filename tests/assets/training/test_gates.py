from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from assets.config import Settings
from assets.stream import DatasetTables
from assets.training.counting import CountAll, CountingRecommender
from assets.training.encoding import Encodings, Universe
from assets.training.recommender import NetRecommender
from assets.training.refresh import Refresher, TrendPreset
from assets.training.studies import gates as studied
from assets.training.studies.figures import gamma_png, gamma_table, gates_png
from assets.training.studies.gates import gate_rows, gates, gates_markdown, item_gates
from assets.training.studies.slices import SLICES, columns
from assets.training.studies.sweep import trials
from models.base import Net
from models.cdn import ExpertItemsConfig, MemGenConfig
from models.net import RetrievalConfig
from models.registry import NETS, build_net
from models.sequence import SequenceUsersConfig
from tests.models.support import SIZES, item_inputs

PNG = b"\x89PNG"
USERS = SequenceUsersConfig(layers=1, heads=1)


def experts(mem: int, gen: int) -> RetrievalConfig:
    return RetrievalConfig(dim=4, items=ExpertItemsConfig(design=MemGenConfig(mem=mem, gen=gen)), users=USERS)


def history(heads: int, model: str = "ihm_sasrec") -> RetrievalConfig:
    config = NETS[model].model_dump()
    tower = config["items"].get("inner", config["items"])
    tower["heads"] = heads
    return RetrievalConfig(**{**config, "dim": 4})


def built(config: RetrievalConfig) -> Net:
    torch.manual_seed(0)
    return build_net(config, SIZES).eval()


def test_memorization_is_the_first_experts_together() -> None:
    net, inputs = built(experts(2, 1)), item_inputs()
    found = gates(net, inputs)
    tower: Any = net.items
    own = tower.gate(tower.frequency((inputs.counts + 1).log()[:, None])).exp()
    torch.testing.assert_close(found["memorization"], (own[:, 0] + own[:, 1]) / own.sum(dim=1))
    torch.testing.assert_close(found["memorization"] + found["generalization"], torch.ones(len(inputs)))


@pytest.mark.parametrize("model", ["ihm_sasrec", "ihm_dat"])
def test_experts_of_ihm_are_the_gate_of_equation_3(model: str) -> None:
    net, inputs = built(history(2, model)), item_inputs()
    with torch.no_grad():
        found = gates(net, inputs)
    assert list(found) == ["expert 1", "expert 2"]
    tower: Any = net.items.inner if model == "ihm_dat" else net.items
    static = tower.static(inputs)
    pooled = tower.experts(static, inputs)
    for item in range(len(inputs)):
        raw = [tower.gate(torch.cat([pooled[item, head], static[item]])).item() for head in range(2)]
        assert float(found["expert 2"][item]) == pytest.approx(np.exp(raw[1]) / np.exp(raw).sum(), rel=1e-5)


def test_other_towers_have_no_learned_gate() -> None:
    for config in (history(1), NETS["sasrec"], NETS["cdn_head_tail"], NETS["cdn_unbalanced_balanced"]):
        assert gates(built(config), item_inputs()) == {}


@pytest.fixture
def recommender(tables: DatasetTables) -> Callable[[RetrievalConfig], NetRecommender]:
    def make(config: RetrievalConfig) -> NetRecommender:
        known = tables.stream.before(tables.cutoff)
        encodings = Encodings.fit(tables, known, 1)
        torch.manual_seed(0)
        net = build_net(config, encodings.sizes)
        universe = Universe.encode(encodings, tables)
        return NetRecommender(net, Refresher(universe, tables.cutoff, net.item_history_length, TrendPreset()))

    return make


def test_items_are_as_at_the_cutoff(tables: DatasetTables, recommender: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = recommender(experts(1, 1))
    assert len(tables.catalog) == 6  # one of them is new in the test windows
    whole = item_gates(model, tables)
    assert whole["memorization"].shape == (6,)
    with torch.inference_mode():
        own = model.net.items.gate(model.net.items.frequency(torch.tensor([[1.0], [5.0]]).log())).softmax(dim=1)[:, 0]
    rows = [tables.catalog.item_ids.tolist().index(item) for item in ("future", "x")]
    np.testing.assert_allclose(whole["memorization"][rows], own.numpy(), rtol=1e-6)  # no engagement, four
    future = tables.stream.timestamps.copy()
    future[future >= tables.cutoff] += np.timedelta64(5, "D")
    later = replace(tables, stream=replace(tables.stream, timestamps=future))
    np.testing.assert_array_equal(item_gates(model, later)["memorization"], whole["memorization"])
    monkeypatch.setattr(studied, "ROWS_PER_BATCH", 4)
    np.testing.assert_allclose(item_gates(model, tables)["memorization"], whole["memorization"], rtol=1e-6)


def test_without_history_experts_of_ihm_weigh_the_same(tables: DatasetTables, recommender: Any) -> None:
    found = item_gates(recommender(history(4)), tables)
    row = tables.catalog.item_ids.tolist().index("future")
    assert [found[f"expert {head}"][row] for head in (1, 2, 3, 4)] == pytest.approx([0.25] * 4)
    assert item_gates(CountingRecommender(CountAll(), 1.0, tables.cutoff), tables) == {}


WEIGHTS = {"memorization": np.array([0.9, 0.7, 0.2, 0.4]), "generalization": np.array([0.1, 0.3, 0.8, 0.6])}
ITEM_SLICES = np.array(["head", "head", "tail", "tail"], dtype=object)


def test_means_by_slice_by_hand() -> None:
    table = gate_rows("cdn", 3, WEIGHTS, ITEM_SLICES)
    assert list(table.itertuples(index=False, name=None)) == [
        ("cdn", 3, "head", "memorization", pytest.approx(0.8), pytest.approx(0.1), 2),
        ("cdn", 3, "head", "generalization", pytest.approx(0.2), pytest.approx(0.1), 2),
        ("cdn", 3, "tail", "memorization", pytest.approx(0.3), pytest.approx(0.1), 2),
        ("cdn", 3, "tail", "generalization", pytest.approx(0.7), pytest.approx(0.1), 2),
    ]


def test_gates_in_markdown_and_as_a_figure() -> None:
    seeds = [gate_rows("cdn", 0, WEIGHTS, ITEM_SLICES)]
    seeds.append(gate_rows("cdn", 1, {name: values / 2 for name, values in WEIGHTS.items()}, ITEM_SLICES))
    seeds.append(gate_rows("ihm_sasrec", 0, {"expert 1": np.full(4, 0.5), "expert 2": np.full(4, 0.5)}, ITEM_SLICES))
    table = pd.concat(seeds, ignore_index=True)
    page = gates_markdown(table, ["sasrec"])
    assert "### cdn, 2 seed(s)" in page
    assert "| head    |          0.600 |            0.150 |       2 |" in page
    assert "Without a gate that is learned: sasrec." in page
    assert gates_png(table, "toy").startswith(PNG)
    assert gates_png(table, "toy") == gates_png(table, "toy")


def sweep_rows(root: Path, seeds: int) -> pd.DataFrame:
    found = trials("cdn", ({"head.adapter.gamma": 1.5}, {"head.adapter.gamma": 3}), Settings(training={"seeds": seeds}))
    rows = pd.DataFrame({"config": [trial.key[0] for trial in found], "best_epoch": 4})
    for index, name in enumerate(SLICES):
        value, low, high, cases = columns(name)
        rows[value] = [0.1 * index + 0.01 * row for row in range(len(rows))]
        rows[low], rows[high], rows[cases] = rows[value] - 0.02, rows[value] + 0.02, 50.0 * index
    return rows


def test_gamma_is_read_from_the_configuration_and_seeds_are_averaged(tmp_path: Path) -> None:
    table = gamma_table(sweep_rows(tmp_path, seeds=2))
    assert table["gamma"].tolist() == [1.5, 3.0]
    assert table["seeds"].tolist() == [2, 2]
    assert table[columns("head")[0]].tolist() == pytest.approx([0.105, 0.125])


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_gamma_figure(tmp_path: Path, seeds: int) -> None:
    table = gamma_table(sweep_rows(tmp_path, seeds))
    assert gamma_png(table, "toy: cdn").startswith(PNG)
    assert gamma_png(table, "toy: cdn") == gamma_png(table, "toy: cdn")
