from typing import Any

import pytest

from assets.config import ConfigError, TrainingConfig
from assets.training import presets
from assets.training.counting import CountAll, CountRecent
from assets.training.presets import DRAWS, PRESETS, FitPreset, Preset, preset
from assets.training.tuned import TUNED
from models.ihm import HistoryItemsConfig
from models.net import RetrievalConfig
from models.sequence import SequenceUsersConfig


def overridden(model: str, dataset: str = "toy", **values: Any) -> Preset:
    return preset(model, TrainingConfig(hyper_parameters={model: values}), dataset)


def net(found: Preset) -> RetrievalConfig:
    assert isinstance(found, FitPreset)
    return found.net


def test_without_overrides_a_preset_is_itself() -> None:
    assert {name: preset(name, TrainingConfig(), "toy") for name in PRESETS} == PRESETS


def test_overrides_reach_optimisation_and_every_part_of_the_net() -> None:
    default = net(PRESETS["ihm_sasrec"])
    found = overridden(
        "ihm_sasrec",
        **{"learning_rate": 0.5, "dim": 32, "items.heads": 4, "net.users.layers": 1, "trend.weight": 0.25},
        **{"counts.half_life_days": 9},
    )
    assert isinstance(found, FitPreset)
    assert (found.learning_rate, found.net.dim, found.net.trend.weight) == (0.5, 32, 0.25)
    assert isinstance(found.net.items, HistoryItemsConfig)
    assert isinstance(found.net.users, SequenceUsersConfig)
    assert (found.net.items.heads, found.net.users.layers, found.counts.half_life_days) == (4, 1, 9)
    assert found.net.items == default.items.model_copy(update={"heads": 4})
    assert PRESETS["ihm_sasrec"] == preset("ihm_sasrec", TrainingConfig(), "toy")  # the registry stays as it was


def test_a_whole_part_is_replaced_by_its_kind() -> None:
    found = net(overridden("sasrec", items={"kind": "static", "feature_dim": 3}, loss="bce"))
    assert (found.items.kind, found.loss, found.users) == ("static", "bce", net(PRESETS["sasrec"]).users)
    inner = net(overridden("ihm_dat", **{"items.inner.heads": 2})).model_dump()["items"]["inner"]
    assert (inner["kind"], inner["heads"]) == ("history", 2)


def test_epochs_for_all_come_after_those_of_one() -> None:
    training = TrainingConfig(hyper_parameters={"sasrec": {"max_epochs": 9}}, max_epochs=2)
    found = preset("sasrec", training, "toy")
    assert isinstance(found, FitPreset)
    assert found.max_epochs == 2
    assert preset("popularity", TrainingConfig(max_epochs=2), "toy") == CountAll()


def test_counting_models_are_configured_too() -> None:
    assert overridden("recent_popularity", days=3) == CountRecent(days=3)


def test_what_was_tuned_for_a_dataset_comes_before_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "TUNED", {"toy": {"sasrec": {"dim": 24, "users.layers": 1}}})
    assert net(overridden("sasrec")).dim == 24
    found = net(overridden("sasrec", dim=40))
    assert isinstance(found.users, SequenceUsersConfig)
    assert (found.dim, found.users.layers) == (40, 1)
    assert net(overridden("sasrec", dataset="other")) == net(PRESETS["sasrec"])


@pytest.mark.parametrize(("dataset", "model"), [(name, model) for name in TUNED for model in TUNED[name]])
def test_what_was_tuned_is_a_preset(dataset: str, model: str) -> None:
    assert isinstance(preset(model, TrainingConfig(), dataset), FitPreset)


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ({"depth": 3}, r"^assets/training/tuned\.py: toy\.sasrec\.depth: no such hyper-parameter"),
        (
            {"users.layers": 0},
            r"^assets/training/tuned\.py: toy\.sasrec: net\.users\.sequence\.layers: Input should be",
        ),
    ],
)
def test_a_bad_tuned_value_is_blamed_on_its_file(
    monkeypatch: pytest.MonkeyPatch, tuned: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(presets, "TUNED", {"toy": {"sasrec": tuned}})
    with pytest.raises(ConfigError, match=message):
        overridden("sasrec", dim=32)
    assert net(overridden("sasrec", dataset="other", dim=32)).dim == 32


def test_bad_overrides_of_tuned_values_are_the_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "TUNED", {"toy": {"sasrec": {"dim": 24}}})
    with pytest.raises(ConfigError, match=r"^training\.hyper_parameters\.sasrec: net\.dim: Input should be greater"):
        overridden("sasrec", dim=0)


def test_the_loss_decides_what_is_drawn() -> None:
    assert {loss: FitPreset(net=net(overridden("sasrec", loss=loss))).draws for loss in DRAWS} == DRAWS


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"sasrec": {"depth": 3}},
            r"hyper_parameters\.sasrec\.depth: no such hyper-parameter; known: .*dim.*lear.*users\.layers",
        ),
        ({"sasrec": {"users.depth": 3}}, r"sasrec\.users\.depth: no such hyper-parameter"),
        ({"sasrec": {"dim": 0}}, r"hyper_parameters\.sasrec: net\.dim: Input should be greater"),
        ({"sasrec": {"users.layers": 0}}, r"hyper_parameters\.sasrec: net\.users\.sequence\.layers: Input should be"),
        ({"sasrec": {"items.kind": "static"}}, r"sasrec\.items\.kind: no such"),
        ({"sasrec": {"items": {"kind": "id", "colour": 1}}}, r"net\.items\.id\.colour: Extra inputs"),
        ({"sasrec": {"net": {}}}, r"hyper_parameters\.sasrec: net\.items: Field required"),
        ({"sasrek": {"dim": 3}}, r"hyper_parameters\.sasrek: no such model; known: .*sasrec"),
    ],
)
def test_wrong_overrides_are_named(overrides: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("sasrec", TrainingConfig(hyper_parameters=overrides), "toy")
