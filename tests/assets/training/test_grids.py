import json

import pytest

from assets.config import Settings
from assets.training.presets import FitPreset, preset
from assets.training.studies.grids import EXPERTS, GAMMA, GRIDS, around, crossed, grid_of
from assets.training.studies.sweep import trials
from models.registry import NETS


def test_around_is_the_preset_and_each_value_alone() -> None:
    assert around({"dim": (8, 16), "loss": ("bce",)}) == ({}, {"dim": 8}, {"dim": 16}, {"loss": "bce"})


def test_crossed_is_every_combination() -> None:
    assert crossed({"a": (1, 2), "b": ("x", "y")}) == (
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    )


def test_every_net_has_a_documented_grid() -> None:
    assert set(GRIDS) == set(NETS)


@pytest.mark.parametrize("dataset", ["simulated", "ml-100k"])
@pytest.mark.parametrize("model", GRIDS)
def test_every_trial_can_be_configured_and_the_preset_is_among_them(model: str, dataset: str) -> None:
    settings = Settings(dataset=dataset)
    configs = [trial.config for trial in trials(model, GRIDS[model], settings)]
    assert preset(model, settings.training, dataset) in configs
    assert 3 <= len(configs) == len({json.dumps(config.model_dump(mode="json")) for config in configs})


def test_the_papers_values_are_searched() -> None:
    settings = Settings()
    gammas = [trial.config.net.head.adapter.gamma for trial in trials("cdn", GAMMA, settings)]  # type: ignore[union-attr]
    assert gammas == [1.2, 1.5, 2.1, 3, 5, 10, 30]
    designs = [trial.config.net.items.design for trial in trials("cdn", EXPERTS, settings)]  # type: ignore[union-attr]
    assert {(design.mem, design.gen) for design in designs} == {(m, g) for m in (1, 2, 3) for g in (1, 2, 3)}


def test_a_gamma_sweep_changes_nothing_but_gamma_and_runs_the_whole_schedule() -> None:
    base = preset("cdn", Settings().training, "simulated")
    assert isinstance(base, FitPreset)
    for trial in trials("cdn", GAMMA, Settings()):
        assert trial.config.patience >= trial.config.max_epochs
        adapter = base.net.head.adapter.model_copy(update={"gamma": trial.overrides["head.adapter.gamma"]})  # type: ignore[union-attr]
        net = base.net.model_copy(update={"head": base.net.head.model_copy(update={"adapter": adapter})})
        assert trial.config == base.model_copy(update={"net": net})


def test_a_configured_grid_replaces_the_documented_one() -> None:
    assert grid_of("sasrec", {"sasrec": [{"dim": 8}]}) == ({"dim": 8},)
    assert grid_of("sasrec", {"cdn": [{"dim": 8}]}) == GRIDS["sasrec"]
    assert grid_of("a net of tomorrow", {}) == ({},)
