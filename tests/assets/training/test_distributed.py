"""Processes that train together take the steps of one."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from assets.config import Settings
from assets.config.training import ParallelConfig
from assets.storage import Storage
from assets.stream import DatasetTables, load_tables
from assets.training.batches import BatchSource
from assets.training.distributed.parts import bounds_by_cost, even_bounds, places_of
from assets.training.distributed.tables import RowShard, divide_tables, whole_tables
from assets.training.distributed.team import Processes, ReplicaError, require_equal, working_in
from assets.training.loop import fit, seeded
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset, preset
from assets.training.train import prepare
from models.base import Movable, Net
from tests.assets.training.slow import HOUR, START, tables_of, with_feedback
from tests.assets.training.together import in_processes

ROWS_DIVIDED = 12
"""The board's tables of items have 21 rows, of users 61; those of features and positions fewer than this."""


TOLERANCE = 1e-8
"""Of weights after two epochs in float64, where rounding is 1e-16. AdamW divides a gradient by its own size: of one
that is zero but for rounding, as of the keys' bias that a softmax does not feel, its steps are of the size of the
rounding over its epsilon, 1e-8. In float32 the same weights come apart by 1e-3."""


def without_dropout(values: Any) -> Any:
    """A dumped preset whose training draws nothing in the net: then a step is a function of its batch."""
    if not isinstance(values, Mapping):
        return values
    draws = {"dropout": 0.0, "item_dropout": 0.0, "id_dropout": 0.0, "fixed": 0.5, "drop": 0.0}
    return {name: draws.get(name, without_dropout(value)) for name, value in values.items()}


def quiet(model: str, optimizer: str = "adamw") -> FitPreset:
    given = preset(model, Settings().training, "simulated")
    assert isinstance(given, FitPreset)
    values = without_dropout(given.model_dump())
    return FitPreset(**{**values, "optimizer": optimizer, "max_epochs": 2, "batch_size": 128, "negatives": 16})


@dataclass(frozen=True)
class InDoubles:
    """Batches in float64."""

    source: BatchSource

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.source:
            yield doubled(batch)


def doubled(value: Any) -> Any:
    if isinstance(value, Movable):
        return replace(value, **{each.name: doubled(getattr(value, each.name)) for each in fields(value)})  # type: ignore[type-var,arg-type]
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def fitted(config: FitPreset, tables: DatasetTables) -> tuple[dict[str, Tensor], list[float]]:
    """Weights and losses after two epochs from the seed, validated by something that sees every weight."""
    past = before_cutoff(tables)

    def validate(net: Net) -> dict[str, float]:
        return {"sum": float(sum(value.double().sum() for value in net.state_dict().values()))}

    with seeded(0, "cpu"):
        ready = prepare(config, past, past.stream, past.cutoff, Settings())
        done = fit(ready.net.double(), InDoubles(ready.batches), config, "cpu", 2, validate, "sum")
    weights = {name: value.clone().contiguous() for name, value in done.net.state_dict().items()}
    return weights, [entry["loss"] for entry in done.history]


def together(
    size: int, folder: Path, configs: Mapping[str, FitPreset], tables: DatasetTables, tables_from: int | None = None
) -> dict[str, list[dict[str, Tensor]]]:
    """Per configuration, each process's weights, with the losses as one more tensor."""

    def run(team: Processes) -> None:
        for name, config in configs.items():
            with working_in(team):
                weights, losses = fitted(config, tables)
            weights["losses"] = torch.tensor(losses)
            safetensors.torch.save_file(weights, folder / f"{name}-{team.rank}.safetensors")

    in_processes(size, folder, run, tables_from)
    return {
        name: [safetensors.torch.load_file(folder / f"{name}-{rank}.safetensors") for rank in range(size)]
        for name in configs
    }


@pytest.fixture(scope="module")
def boarded(board: Storage) -> DatasetTables:
    return load_tables(board)


def compare(alone: tuple[dict[str, Tensor], list[float]], replicas: list[dict[str, Tensor]]) -> None:
    weights, losses = alone
    for replica in replicas:
        assert set(replica) == {*weights, "losses"}
        for name, value in replica.items():
            assert torch.equal(value, replicas[0][name]), name
    torch.testing.assert_close(replicas[0]["losses"], torch.tensor(losses), rtol=1e-5, atol=0)
    for name, value in weights.items():
        torch.testing.assert_close(replicas[0][name], value, rtol=0, atol=TOLERANCE, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    ("size", "tables_from", "configs"),
    [
        # Gathered users and items, heads that mix targets, losses that normalise over the batch, in-batch negatives.
        (2, None, {"ihm_cdn": quiet("ihm_cdn"), "two_tower_logq_rebalance": quiet("two_tower_logq_rebalance")}),
        # Shares of unequal size, tables divided by rows and stepped by rows, a user tower that is frozen midway.
        (3, ROWS_DIVIDED, {"two_tower_ndp": quiet("two_tower_ndp", "lazy_adamw")}),
        (2, ROWS_DIVIDED, {"ihm_sasrec": quiet("ihm_sasrec")}),
        (2, None, {"sasrec": quiet("sasrec", "lazy_adamw")}),  # sparse gradients, averaged by rows
    ],
    ids=["dense", "divided, lazy", "divided", "lazy"],
)
def test_processes_train_what_one_does(
    boarded: DatasetTables, tmp_path: Path, size: int, tables_from: int | None, configs: dict[str, FitPreset]
) -> None:
    for name, replicas in together(size, tmp_path, configs, boarded, tables_from).items():
        compare(fitted(configs[name], boarded), replicas)


def test_machines_may_run_unequally_many(boarded: DatasetTables, tmp_path: Path) -> None:
    """Two processes on one machine and one on another, each on its own device."""
    places = [(0, 2), (1, 2), (0, 1)]

    def run(team: Processes) -> None:
        os.environ |= dict(zip(("LOCAL_RANK", "LOCAL_WORLD_SIZE"), map(str, places[team.rank]), strict=True))
        on_cuda = team.arguments("cuda")
        assert on_cuda["devices"] == [places[team.rank][0]]
        on_cuda["strategy"].parallel_devices = [torch.device("cuda", *on_cuda["devices"])]
        assert on_cuda["strategy"].root_device == torch.device("cuda", places[team.rank][0])
        with working_in(team):
            weights, _ = fitted(quiet("two_tower"), boarded)
        safetensors.torch.save_file(weights, tmp_path / f"weights-{team.rank}")

    in_processes(3, tmp_path, run)
    expected, _ = fitted(quiet("two_tower"), boarded)
    for rank in range(3):
        for name, value in safetensors.torch.load_file(tmp_path / f"weights-{rank}").items():
            torch.testing.assert_close(value, expected[name], rtol=0, atol=TOLERANCE)


def recurrent(model: str, bptt: int) -> FitPreset:
    values = quiet(model).model_dump()
    values["net"]["users"]["bptt"] = bptt
    values["keep"] = "last"  # an epoch chosen by the sum of a divided table's rows here may be another
    return FitPreset(**values)


def unequal_histories() -> DatasetTables:
    """Five users of 60, 20, 20, 10 and 5 engagements with 40 items, over twelve days."""
    draw = np.random.default_rng(0)
    users = draw.permutation(np.repeat(np.arange(5), [60, 20, 20, 10, 5]))
    hours = np.sort(draw.integers(0, 24 * 12, len(users)))
    rows = [
        (f"u{user}", f"j{draw.integers(40):02d}", str(START + at * HOUR)) for user, at in zip(users, hours, strict=True)
    ]
    return with_feedback(tables_of(rows))


@pytest.mark.parametrize(
    ("tables_from", "bptt"),
    # Time-deltas have 32 rows, hours of the day 24, items about 40, event types and users' cities fewer than 10.
    [(None, 50), (20, 4), (3, 7)],
    ids=["whole", "some divided", "all divided"],
)
def test_recurrent_nets_train_what_one_process_does(tmp_path: Path, tables_from: int | None, bptt: int) -> None:
    """Also where tables are divided and the histories of one process's users take more chunks than the other's."""
    tables = unequal_histories()
    configs = {model: recurrent(model, bptt) for model in ("hrnn", "hgru", "hrnn_meta")}
    for name, replicas in together(2, tmp_path, configs, tables, tables_from).items():
        compare(fitted(configs[name], tables), replicas)


def test_a_divided_table_holds_a_share_and_gives_every_row(tmp_path: Path) -> None:
    def run(team: Processes) -> None:
        net = nn.ModuleDict({"large": nn.Embedding(7, 3), "small": nn.Embedding(2, 3), "positions": nn.Embedding(9, 3)})
        table = net["large"]
        assert isinstance(table, nn.Embedding)
        with torch.no_grad():
            table.weight.copy_(torch.arange(21.0).reshape(7, 3))
        assert divide_tables(net, 7, team.group) == ["large"]
        shard = net["large"]
        assert isinstance(shard, RowShard)
        assert shard.own[:, 0].tolist() == [3.0 * row for row in range(team.rank, 7, 2)]
        asked = torch.tensor([[6, 0], [0, 5]]) if team.rank else torch.zeros(1, 0, dtype=torch.int64)
        found = shard(asked)
        assert torch.equal(found, 3.0 * asked[..., None] + torch.arange(3))
        (2 * found.sum()).backward()
        # Both processes' gradients over two: rows 0, 6 and 5 were asked for, row 0 twice.
        expected = {0: [2.0, 0.0, 0.0, 1.0], 1: [0.0, 0.0, 1.0]}[team.rank]
        assert shard.own.grad is not None
        assert shard.own.grad[:, 0].tolist() == expected
        assert shard.weight.isnan().all()  # read past the table, no loss is finite
        whole_tables(net)
        assert torch.equal(net.get_parameter("large.weight"), torch.arange(21.0).reshape(7, 3))

    in_processes(2, tmp_path, run)


def test_replicas_that_differ_are_an_error(tmp_path: Path) -> None:
    def run(team: Processes) -> None:
        net = nn.ModuleDict({"same": nn.Linear(1, 1), "other": nn.Linear(1, 1)})
        with torch.no_grad():
            for number, value in enumerate(net.parameters()):
                value.fill_(number + (team.rank if number == 3 else 0))
        with pytest.raises(ReplicaError, match=r"other\.bias is not the same in all 2 processes"):
            require_equal(net, team.group)

    in_processes(2, tmp_path, run)


def test_processes_drop_out_other_places_and_agree_on_a_score(tmp_path: Path) -> None:
    def run(team: Processes) -> None:
        torch.manual_seed(3)
        with team.at_work_on(nn.Linear(1, 1).requires_grad_(False).apply(zeroed)):
            drawn = torch.rand(4)
        safetensors.torch.save_file({"drawn": drawn}, tmp_path / f"drawn-{team.rank}")
        validate = team.agreed(lambda _: {"score": 0.1 + team.rank})
        assert validate is not None
        assert validate(None) == {"score": 0.1}
        assert team.agreed(None) is None

    in_processes(2, tmp_path, run)
    one, other = (safetensors.torch.load_file(tmp_path / f"drawn-{rank}")["drawn"] for rank in range(2))
    assert not torch.isclose(one, other).any()


def zeroed(module: nn.Module) -> None:
    for value in module.parameters():
        nn.init.zeros_(value)


def test_shares_cover_every_row_and_cost_about_the_same() -> None:
    assert even_bounds(7, 3).tolist() == [0, 2, 4, 7]
    assert even_bounds(1, 3).tolist() == [0, 0, 0, 1]
    assert bounds_by_cost(np.array([1, 1, 1, 1, 4]), 2).tolist() == [0, 4, 5]
    assert bounds_by_cost(np.array([9, 1, 1]), 3).tolist() == [0, 0, 0, 3]
    shares = [torch.tensor([3, 0]), torch.tensor([1]), torch.tensor([2, 4])]
    assert torch.cat(shares)[places_of(shares, 5)].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"split_tables_from": 100}, "set processes to 2 or more"), ({"cpus_per_process": 0.5}, "set launcher to ray")],
)
def test_settings_without_effect_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        ParallelConfig(**values)
