import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from assets.training.loop import fit, resolve_device, seeded
from assets.training.presets import FitPreset
from models.base import ItemInputs, Movable, Net, UserInputs
from models.registry import NETS


class Line(Net):
    """One weight; its loss goes down as the weight goes up."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.begun: list[tuple[int, int]] = []

    def item_vectors(self, items: ItemInputs) -> Tensor:
        raise NotImplementedError

    def user_vectors(self, users: UserInputs, items: Tensor) -> Tensor:
        raise NotImplementedError

    def loss(self, batch: "Scale") -> Tensor:  # type: ignore[override]
        return -(self.weight * batch.value).sum()

    def begin_epoch(self, epoch: int, planned: int) -> None:
        self.begun.append((epoch, planned))


class Scale(Movable):
    def __init__(self, value: float) -> None:
        self.value = value

    def to(self, device: torch.device, **_: object) -> "Scale":
        return self


class Source:
    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Scale]:
        yield Scale(self.value)
        yield Scale(self.value)


PRESET = FitPreset(max_epochs=6, patience=2, learning_rate=0.5, net=NETS["sasrec"])
"""Of the net, nothing is read here."""


def test_stops_early_and_returns_the_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[float] = []
    values = iter([0.1, 0.5, 0.4, 0.3, 0.9])

    def validate(net: Net) -> dict[str, float]:
        net.eval()
        seen.append(net.weight.item())
        return {"quality": next(values)}

    net = Line()
    fitted = fit(net, Source(), PRESET, "cpu", 6, validate, "quality")
    assert [entry["quality"] for entry in fitted.history] == [0.1, 0.5, 0.4, 0.3]
    assert fitted.best_epoch == 2
    assert fitted.best["quality"] == 0.5
    assert net.weight.item() == seen[1] != seen[-1]
    assert not net.training
    assert list(tmp_path.iterdir()) == []  # Lightning leaves no logs behind


def test_keeping_the_last_epoch_runs_the_whole_schedule_whatever_it_scores() -> None:
    seen: list[float] = []
    values = iter([0.9, 0.5, 0.4, 0.3, 0.2, 0.1])

    def validate(net: Net) -> dict[str, float]:
        seen.append(net.weight.item())
        return {"quality": next(values)}

    net = Line()
    fitted = fit(net, Source(), PRESET.model_copy(update={"keep": "last"}), "cpu", 6, validate, "quality")
    assert [entry["quality"] for entry in fitted.history] == [0.9, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert fitted.best_epoch == 6
    assert fitted.best["quality"] == 0.1
    assert net.weight.item() == seen[-1] != seen[0]
    assert not net.training


def test_runs_all_epochs_without_validation() -> None:
    net = Line()
    fitted = fit(net, Source(), PRESET, "cpu", 3)
    assert fitted.best_epoch == len(fitted.history) == 3
    assert [entry["epoch"] for entry in fitted.history] == [1, 2, 3]
    assert fitted.history[0]["loss"] > fitted.history[-1]["loss"]


def test_the_rate_falls_by_the_planned_epochs() -> None:
    """A refit of fewer epochs takes the same steps as the fit did up to there."""
    weights: list[float] = []

    def record(net: Net) -> dict[str, float]:
        weights.append(net.weight.item())
        return {"quality": float(len(weights))}

    fit(Line(), Source(), PRESET, "cpu", 6, record, "quality")
    short = Line()
    fit(short, Source(), PRESET, "cpu", 4)
    assert short.weight.item() == weights[3]
    steps = np.diff([0.0, *weights])
    assert steps == pytest.approx(steps[0] * np.array([6, 5, 4, 3, 2, 1]) / 6, rel=0.05)


def test_the_net_is_told_each_epoch_and_the_planned_number() -> None:
    """Schedules go by the plan, so that a refit of fewer epochs repeats the fit's."""
    net = Line()
    fit(net, Source(), PRESET, "cpu", 3)
    assert net.begun == [(1, 6), (2, 6), (3, 6)]


def test_a_loss_that_is_not_finite_stops_training() -> None:
    with pytest.raises(FloatingPointError, match="loss is nan in epoch 1"):
        fit(Line(), Source(float("nan")), PRESET, "cpu", 3)


def test_a_score_that_is_not_finite_chooses_no_epoch() -> None:
    """Where the last epoch is kept, nothing is chosen by it."""
    nowhere = {"quality": float("nan")}
    with pytest.raises(FloatingPointError, match="validation quality is nan in epoch 1"):
        fit(Line(), Source(), PRESET, "cpu", 3, lambda _: nowhere, "quality")
    last = PRESET.model_copy(update={"keep": "last"})
    assert fit(Line(), Source(), last, "cpu", 3, lambda _: nowhere, "quality").best_epoch == 3


def test_an_absent_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(RuntimeError, match="finds no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (resolve_device("auto"), resolve_device("cpu"), resolve_device("cuda")) == ("cuda", "cpu", "cuda")


def test_seeding_covers_every_generator_and_is_undone() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002

    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    threads = torch.get_num_threads()
    with seeded(7, "cpu", threads=threads + 1):
        one = draw()
        assert torch.get_num_threads() == threads + 1
        assert torch.are_deterministic_algorithms_enabled()
    with seeded(7, "cpu"):
        assert draw() == one
    with seeded(8, "cpu"):
        assert all(a != b for a, b in zip(draw(), one, strict=True))
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert before == after
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
