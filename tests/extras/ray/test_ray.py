"""Ray Train and Ray Data give what one process gives."""

import pyarrow.parquet as pq
import pytest
import torch

from assets.config import Settings
from assets.config.bulk import BulkConfig
from assets.config.training import ParallelConfig
from assets.serving.bulk.embedder import ITEMS, SCORES
from assets.serving.bulk.engines import score_users
from assets.stream import load_tables
from assets.training.distributed.job import TogetherError
from assets.training.distributed.launch import train_as_configured
from assets.training.saving import save_checkpoint
from assets.training.train import Trained, train
from tests.extras.needs import needs
from tests.models.contract import checkerboard_rows, write_checkerboard

needs("ray")  # the project imports it inside functions only

MODEL = "sasrec"
QUIET = {"max_epochs": 2, "users.dropout": 0.0, "users.item_dropout": 0.0}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("ray")
    storage = write_checkerboard(root, checkerboard_rows())
    return Settings(
        home=root,
        dataset=storage.dataset,
        training={"hyper_parameters": {MODEL: QUIET}},  # type: ignore[arg-type]
        bulk=BulkConfig(rows=7, k=4),
    )


@pytest.fixture(scope="module")
def alone(settings: Settings) -> Trained:
    return train(MODEL, load_tables(settings.storage), settings)


def parallel(settings: Settings, **values: object) -> Settings:
    training = settings.training.model_copy(update={"parallel": ParallelConfig(**values)})  # type: ignore[arg-type]
    return settings.model_copy(update={"training": training})


@pytest.mark.parametrize(
    "how",
    [
        {"launcher": "ray", "processes": 2, "cpus_per_process": 0.5},
        {"launcher": "torchrun", "processes": 2, "split_tables_from": 15},
    ],
    ids=["ray", "torchrun"],
)
def test_a_launcher_trains_what_one_process_does(settings: Settings, alone: Trained, how: dict[str, object]) -> None:
    tables = load_tables(settings.storage)
    trained = train_as_configured(MODEL, tables, parallel(settings, **how))
    assert trained.weights is not None
    assert alone.weights is not None
    assert trained.encodings == alone.encodings
    assert trained.bounds == alone.bounds
    assert trained.best_epoch == alone.best_epoch
    assert trained.metrics["validation"] == pytest.approx(alone.metrics["validation"], abs=1e-4)
    for phase, history in alone.history.items():
        losses = [entry["loss"] for entry in trained.history[phase]]
        assert losses == pytest.approx([entry["loss"] for entry in history], rel=1e-5)
    for name, weight in alone.weights.items():
        if not name.endswith("qkv.bias"):  # a softmax does not feel it: its steps are rounding, see test_distributed
            torch.testing.assert_close(trained.weights[name], weight, rtol=0, atol=5e-3)


@pytest.mark.parametrize("launcher", ["ray", "torchrun"])
def test_a_process_that_fails_is_quoted(settings: Settings, launcher: str) -> None:
    tables = load_tables(settings.storage)
    broken = parallel(
        settings, launcher=launcher, processes=2, **({"cpus_per_process": 0.5} if launcher == "ray" else {})
    )
    rate = {"hyper_parameters": {MODEL: {**QUIET, "learning_rate": 1e30}}}
    broken = broken.model_copy(update={"training": broken.training.model_copy(update=rate)})
    with pytest.raises(TogetherError, match=r"2 processes: .*FloatingPointError: loss is"):
        train_as_configured(MODEL, tables, broken)
    assert list(settings.storage.checkpoint(MODEL, 0).parent.glob(".*together*")) == []


def test_ray_data_writes_the_rows_of_one_process(settings: Settings, alone: Trained) -> None:
    save_checkpoint(settings.storage, alone)
    path = score_users(settings, MODEL)
    vectors = path.with_name(f"{MODEL}-items.parquet")
    expected, own = pq.read_table(path), pq.read_table(vectors)
    path.unlink()
    vectors.unlink()
    on_ray = settings.model_copy(update={"bulk": BulkConfig(engine="ray", rows=7, k=4, workers=2)})
    found = pq.read_table(score_users(on_ray, MODEL))
    assert pq.read_table(vectors).equals(own)
    assert found.column(0).equals(expected.column(0))
    assert found[ITEMS].to_pylist() == expected[ITEMS].to_pylist()
    assert found[SCORES].to_pylist() == expected[SCORES].to_pylist()
