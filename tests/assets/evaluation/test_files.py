"""Results carry what they were made from; results of different makings are refused by name."""

from dataclasses import replace

import pandas as pd
import pytest

from assets.evaluation.files import (
    Basis,
    RanksInfo,
    StaleResultsError,
    ranks_path,
    read_info,
    read_metrics,
    read_ranks,
    write_metrics,
    write_ranks,
)
from assets.evaluation.slices import metrics_frame
from assets.storage import Storage, write_parquet
from tests.assets.evaluation.toy import random_ranks

BASIS = Basis(seed=0, checkpoint="c" * 64, tables="t" * 64, protocols=("rolling/refreshed",))


def info(model: str = "m", basis: Basis = BASIS) -> RanksInfo:
    return RanksInfo(model, basis, cases=400, repeats_dropped=7, off_catalog=20)


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage(tmp_path, "toy")


def test_round_trip(storage: Storage):
    ranks = random_ranks()
    write_ranks(storage, ranks, info())
    assert read_info(storage, "m") == info()
    pd.testing.assert_frame_equal(read_ranks(storage, "m", BASIS), ranks)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"checkpoint": "d" * 64}, {"tables": "u" * 64}, {"protocols": ("frozen/frozen",)}]
)
def test_another_basis_is_refused_by_name(storage: Storage, change: dict[str, object]):
    write_ranks(storage, random_ranks(), info())
    message = f"the ranks of m were made with {next(iter(change))} .* materialize evaluation/m_ranks again"
    with pytest.raises(StaleResultsError, match=message):
        read_ranks(storage, "m", replace(BASIS, **change))


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
    retrained = info("other", replace(BASIS, checkpoint="e" * 64))
    for stale in (retrained, info("third")):
        with pytest.raises(StaleResultsError, match=f"current ranks of {stale.model}: materialize evaluation/metrics"):
            read_metrics(storage, [info("m"), stale])
