"""Every adapter's official layout, dirt included, through the whole graph as ``thaw run`` runs it.

The nets are tiny and learn for one epoch: what is tested is that nothing on the way stumbles over a dataset's features,
ids, times or gaps. One process for all of them, because loading the libraries takes longer than any of the runs.
``THAW_EVERY_DATASET=1`` runs those too whose reader another one shares.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from assets.config import ConfigError, Settings, load_settings
from assets.evaluation.files import ranks_path
from assets.evaluation.protocol import LISTED
from assets.ingestion.landing.batches import Arrival, write_batch
from assets.ingestion.landing.contract import Landed
from assets.ingestion.landing.places import Kind
from assets.ingestion.tables import QUARANTINE_SCHEMA, items_table
from assets.serving.retrieval.retriever import Retriever
from assets.storage import Storage
from orchestration.cli import app
from orchestration.runner import run_graph
from tests.assets.ingestion.worlds import LAYOUTS, put, world

ASIDE = {
    "ml-10m": {"movies.dat": 1},
    "amazon-beauty": {"reviews_Beauty_5.json.gz": 1, "meta_Beauty.json.gz": 1},
    "book-crossing": {"BX-Books.csv": 1},
    "files": {"interactions.csv": 1},
}
"""Rows that each layout's dirt costs, per file."""
ITEM_FEATURES = {
    "amazon-beauty": {"brand", "category", "price"},
    "amazon-games": {"brand", "category", "price"},
    "amazon-books": set(),
    "book-crossing": {"author", "publisher", "year"},
    "files": {"genre"},
}
ALIKE = {
    "ml-100k": "ml-1m",
    "ml-10m": "ml-1m",
    "ml-latest-small": "ml-20m",
    "movietweetings": "ml-1m",
    "movietweetings-100k": "ml-1m",
    "amazon-games": "amazon-beauty",
    "amazon-books": "amazon-beauty",
}
"""Dataset -> one whose tables the default suite takes through the graph in its place (12 to 20 s each): behind the
adapters, which have tests of their own, they differ in nothing that the other has not got."""
CHOSEN = [name for name in LAYOUTS if name not in ALIKE or os.environ.get("THAW_EVERY_DATASET") == "1"]


def tiny(dataset: str, home: Path) -> Settings:
    """Two windows, one net of 8 dimensions for one epoch."""
    split = {} if dataset == "book-crossing" else {"split": {"windows": 2}}
    return load_settings(
        {},
        dataset=dataset,
        home=home,
        data_dir=home / "local",
        models=("popularity", "decayed_popularity", "sasrec"),
        training={"max_epochs": 1, "hyper_parameters": {"sasrec": {"dim": 8}}},
        evaluation={"bootstrap_samples": 20},
        drift={"sample_rows": 300},
        **split,
    )


@pytest.mark.parametrize("dataset", CHOSEN)
def test_the_whole_graph(dataset: str, tmp_path: Path) -> None:
    put(tmp_path / "local", dataset)
    settings = tiny(dataset, tmp_path)
    console = Console(file=io.StringIO(), width=200)
    outcome = run_graph(settings, None, console)
    assert outcome.success, (outcome.failed_steps, outcome.failed_checks)

    storage = settings.storage
    report = json.loads((storage.raw / "ingestion.json").read_text(encoding="utf-8"))
    aside = {file: sum(reasons.values()) for file, reasons in report["quarantined"].items() if reasons}
    assert (report["rows"]["interactions"], aside) == (len(world()), ASIDE.get(dataset, {}))
    assert features(storage) == ITEM_FEATURES.get(dataset, {"genre", "year"})

    metrics = pd.read_parquet(storage.metrics)
    assert set(metrics["model"]) == set(settings.models)
    assert set(metrics["window"]) == ({"0", "all"} if dataset == "book-crossing" else {"0", "1", "all"})
    assert np.isfinite(metrics["value"]).all()
    user = storage.read_raw("interactions")["user_id"].iloc[0]
    with Retriever.open(storage, settings) as retriever:
        (answer,) = retriever.recommend([user], k=3)
    assert len(answer.results) == 3


def test_announced_items_wait_for_their_time(tmp_path: Path) -> None:
    """Catalogs list what will appear. Nothing fails, nothing ranks or finds it, and what is engaged with exists."""
    folder = put(tmp_path / "local", "files")
    described = [row.split(",") for row in (folder / "items.csv").read_text(encoding="utf-8").splitlines()[1:]]
    middle = "2001-01-20"  # of the test period
    created = {"i1": "2200-01-01", "announced": "2200-01-01", "soon": middle}  # users engage with i1 all the same
    rows = [*described, ["announced", "Drama"], ["soon", "Drama"]]
    lines = ["item_id,created_at,genre", *(f"{item},{created.get(item, '')},{genre}" for item, genre in rows)]
    (folder / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = tiny("files", tmp_path)
    console, storage = Console(file=io.StringIO(), width=200), settings.storage
    outcome = run_graph(settings, None, console)
    assert outcome.success, (outcome.failed_steps, outcome.failed_checks)

    items = storage.read_table("items").set_index("item_id")
    assert items.loc["announced", "available_at"] == pd.Timestamp("2200-01-01")
    assert items.loc["i1", "available_at"] == items.loc["i1", "first_engaged_at"]
    assert items.loc["announced", ["train_count", "slice"]].tolist() == [0, "cold"]
    cases = storage.read_table("test_cases").set_index("source_row")
    for model in settings.models:
        ranks = pd.read_parquet(ranks_path(storage, model))
        refreshed = cases["refresh_at"].reindex(ranks["source_row"]).to_numpy()
        there = np.sort(items["available_at"].dropna().to_numpy())
        np.testing.assert_array_equal(ranks["catalog"], np.searchsorted(there, refreshed, side="right"))
        listed = ranks[[name for name in ranks if name.startswith(LISTED)]].to_numpy()
        assert listed.max() >= 0
        assert items.index.get_loc("announced") not in listed
        assert items.index.get_loc("soon") not in listed[refreshed < np.datetime64(middle)]
    with Retriever.open(storage, settings) as retriever:
        answers = retriever.recommend(["u1", "nobody"], k=1000)
        everything = {result.item_id for answer in answers for result in answer.results}
        fresh = retriever.recommend(["nobody"], k=1000, new_only=True)[0]
        assert ("soon" in everything, "announced" in everything, "i1" in everything) == (True, False, True)
        assert "announced" not in {result.item_id for result in fresh.results}
        assert retriever.size == (items["available_at"] < pd.Timestamp("2100-01-01")).sum()

    table = items_table(pa.array(["landed"]), created_at=pa.array([pd.Timestamp("2200-01-01")], pa.timestamp("us")))
    landed = Landed(Kind.ITEMS, table, QUARANTINE_SCHEMA.empty_table(), "0" * 64)
    write_batch(storage, "2024-03-07", landed, Arrival("landed.csv", 1, 1, "0" * 64))
    outcome = run_graph(settings, "group:ingestion", console)
    assert outcome.success, (outcome.failed_steps, outcome.failed_checks)
    raw = storage.read_raw("items").set_index("item_id")
    assert raw.loc["landed", "created_at"] == pd.Timestamp("2200-01-01")


def features(storage: Storage) -> set[str]:
    """Columns of lists of the exported items."""
    table = storage.read_table("items")
    lists = [name for name in table if table[name].map(lambda held: isinstance(held, np.ndarray)).all()]
    return set(lists) - {"content"}


def test_a_dataset_without_times_is_split_at_random_unless_it_cannot_be(tmp_path: Path) -> None:
    split = load_settings({}, dataset="book-crossing", split={"head_rule": "pareto"}).split
    assert (split.kind, split.held_out_by, split.head_rule) == ("leave_one_out", "random", "pareto")
    assert load_settings({}, dataset="ml-1m").split.kind == "median_time"
    for asked in ({"kind": "median_time"}, {"kind": "leave_one_out"}, {"kind": "held_out_items"}):
        with pytest.raises(ConfigError, match=r"book-crossing has no times.*split\.kind.*held_out_by random"):
            load_settings({}, dataset="book-crossing", split=asked)


@pytest.mark.parametrize("dataset", ["ml-1m", "book-crossing", "amazon-games"])
def test_without_files_and_network_one_line_says_what_to_do(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of local copies is there, the dataset's is not, and no address can be reached."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("THAW_DATASET", "THAW_MODELS", "THAW_CONFIG"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("THAW_HOME", str(tmp_path))
    monkeypatch.setenv("THAW_DATA_DIR", str(tmp_path / "local"))
    result = CliRunner().invoke(app, ["report", "--dataset", dataset, "--to", str(tmp_path / "pages")])
    assert result.exit_code == 1
    said = [line for line in result.output.splitlines() if "not on this machine" in line]
    assert len(said) == 1, result.output
    assert f"{tmp_path / 'local' / dataset}" in said[0]
    assert "connect to the network and run again, or put " in said[0]
    assert not (tmp_path / "pages").exists()
