"""Results carry what they were made from; results of different makings are refused by name."""

import json
from dataclasses import replace

import pandas as pd
import pyarrow.parquet as pq
import pytest

from assets.evaluation.files import (
    METADATA_KEY,
    Basis,
    RanksInfo,
    StaleResultsError,
    ranks_path,
    read_info,
    read_metrics,
    read_ranks,
    read_seed_means,
    write_metrics,
    write_ranks,
    write_seed_means,
)
from assets.evaluation.slices import metrics_frame, seed_means_frame
from assets.storage import Storage, write_parquet
from tests.assets.evaluation.toy import random_ranks

BASIS = Basis(
    seeds=(0, 1),
    checkpoints=("c" * 64, "d" * 64),
    tables="e" * 64,
    protocols=("rolling/refreshed",),
    max_cases=5000,
    fallback='{"half_life_days": 3.0, "smoothing": 0.02}',
)


def info(model: str = "m", basis: Basis = BASIS) -> RanksInfo:
    return RanksInfo(model, basis, cases=400, repeats_dropped=7, off_catalog=20, cases_in_all=400)


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage(tmp_path, "toy")


def test_round_trip(storage: Storage):
    ranks = random_ranks()
    write_ranks(storage, ranks, info())
    assert read_info(storage, "m") == info()
    pd.testing.assert_frame_equal(read_ranks(storage, "m", BASIS), ranks)


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": (1, 2)},
        {"checkpoints": ("c" * 64, "e" * 64)},
        {"tables": "f" * 64},
        {"protocols": ("frozen/frozen",)},
        {"fallback": '{"half_life_days": 3.0, "smoothing": 0.1}'},
    ],
)
def test_another_basis_is_refused_by_name(storage: Storage, change: dict[str, object]):
    write_ranks(storage, random_ranks(), info())
    message = f"the ranks of m were made with {next(iter(change))} .* materialize evaluation/m_ranks again"
    with pytest.raises(StaleResultsError, match=message):
        read_ranks(storage, "m", replace(BASIS, **change))


def test_a_difference_is_named_whole_but_for_digests(storage: Storage):
    write_ranks(storage, random_ranks(), info())
    with pytest.raises(StaleResultsError, match=r"checkpoints cccccccccccc, dddddddddddd, now it is c+, e{12}:"):
        read_ranks(storage, "m", replace(BASIS, checkpoints=("c" * 64, "e" * 64)))
    with pytest.raises(StaleResultsError, match=r'"smoothing": 0.02}, now it is .* "smoothing": 0.1}'):
        read_ranks(storage, "m", replace(BASIS, fallback=BASIS.fallback.replace("0.02", "0.1")))


def test_ranks_of_another_version_are_refused(storage: Storage):
    path = write_ranks(storage, random_ranks(), info())
    table = pq.read_table(path)
    held = json.loads(table.schema.metadata[METADATA_KEY])
    del held["basis"]["fallback"]
    write_parquet(path, table.replace_schema_metadata({METADATA_KEY: json.dumps(held).encode()}))
    with pytest.raises(StaleResultsError, match="ranks of m were written by another version: materialize evaluation/m"):
        read_ranks(storage, "m", BASIS)


def test_missing_ranks_name_the_asset(storage: Storage):
    with pytest.raises(FileNotFoundError, match="materialize evaluation/m_ranks first"):
        read_ranks(storage, "m", BASIS)


def test_a_file_of_unknown_making_is_refused(storage: Storage):
    write_parquet(ranks_path(storage, "m"), random_ranks())
    with pytest.raises(StaleResultsError, match="does not say what it was made from"):
        read_ranks(storage, "m", BASIS)


def test_metrics_know_their_ranks(storage: Storage):
    ranks = pd.concat([random_ranks("m"), random_ranks("other")])
    metrics = metrics_frame(ranks, (10,), 5, 0)
    write_metrics(storage, metrics, [info("m"), info("other")])
    pd.testing.assert_frame_equal(read_metrics(storage, [info("m"), info("other")]), metrics)
    assert set(read_metrics(storage, [info("other")])["model"]) == {"other"}
    retrained = info("other", replace(BASIS, checkpoints=("c" * 64, "e" * 64)))
    for stale in (retrained, info("third")):
        with pytest.raises(StaleResultsError, match=f"current ranks of {stale.model}: materialize evaluation/metrics"):
            read_metrics(storage, [info("m"), stale])


def test_metrics_over_seeds_know_their_ranks_too(storage: Storage):
    ranks = random_ranks("m")
    means = seed_means_frame(ranks, metrics_frame(ranks, (10,), 5, 0), (10,), 5, 0)
    write_seed_means(storage, means, [info("m")])
    pd.testing.assert_frame_equal(read_seed_means(storage, [info("m")]), means)
    with pytest.raises(StaleResultsError, match="current ranks of m"):
        read_seed_means(storage, [info("m", replace(BASIS, seeds=(0,)))])
