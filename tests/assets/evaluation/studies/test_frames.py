"""Frames: keys, cases and their refreshes."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.config import ConfigError, Settings, SplitConfig
from assets.evaluation.studies.frames import Frame, frame_cases, frame_keys, frame_table, frames_named, read_frames
from assets.storage import Storage
from assets.stream import load_tables
from tests.assets.evaluation.studies.online_toy import CUTOFF, FRAMES, online_settings, online_tables
from tests.support import interactions_frame, write_tables


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return online_tables(tmp_path_factory.mktemp("tables"))


@pytest.mark.parametrize(
    ("start", "key"),
    [
        ("2013-07-12T22:21:23", "2013-07-12T22-21-23Z"),
        ("2013-07-12", "2013-07-12T00-00-00Z"),
        ("2013-07-12T22:21:23.000125", "2013-07-12T22-21-23.000125Z"),
        ("2013-07-12T22:21:00.500000", "2013-07-12T22-21-00.500000Z"),
    ],
)
def test_a_key_is_the_start_and_fit_for_a_file(start: str, key: str) -> None:
    at = np.datetime64(start, "us")
    assert Frame(0, at, at).key == key
    assert Frame(0, at.astype("datetime64[ns]"), at).key == key


def test_frames_are_the_test_windows_without_gaps(storage: Storage) -> None:
    frames = read_frames(storage, online_settings(storage.root.parent))
    assert [frame.number for frame in frames] == list(range(FRAMES))
    assert frames[0].starts_at == np.datetime64(CUTOFF, "us")
    assert all(one.ends_at == other.starts_at for one, other in pairwise(frames))
    last = storage.read_table("interactions")["timestamp"].max()
    assert frames[-1].ends_at == np.datetime64(last, "us") + np.timedelta64(1, "us")
    assert frame_keys(storage, online_settings(storage.root.parent)) == [frame.key for frame in frames]


def test_frames_come_in_the_order_of_time_whatever_the_table_has(tmp_path: Path) -> None:
    storage = online_tables(tmp_path)
    storage.read_table("split_bounds").iloc[::-1].to_parquet(storage.table("split_bounds"))
    frames = read_frames(storage, online_settings(tmp_path))
    assert [frame.number for frame in frames] == list(range(FRAMES))


@pytest.mark.parametrize("kind", ["leave_one_out", "held_out_items"])
def test_a_split_without_a_cutoff_in_time_has_no_frames(storage: Storage, kind: str) -> None:
    settings = Settings(home=storage.root.parent, dataset="toy", split=SplitConfig(kind=kind))
    with pytest.raises(ConfigError, match=f"{kind} has no cutoff in time"):
        read_frames(storage, settings)


def test_named_frames_in_the_order_of_time(storage: Storage) -> None:
    frames = read_frames(storage, online_settings(storage.root.parent))
    assert frames_named([frames[2].key, frames[0].key], frames) == [frames[0], frames[2]]
    with pytest.raises(ValueError, match=r"1999-01-01T00-00-00Z is no frame of the current split, which has 4 from"):
        frames_named([frames[1].key, "1999-01-01T00-00-00Z"], frames)


def test_cases_of_a_frame_are_refreshed_at_its_start_and_at_midnight(storage: Storage) -> None:
    tables, test_cases = load_tables(storage), storage.read_table("test_cases")
    frames = read_frames(storage, online_settings(storage.root.parent))
    held = [frame_cases(test_cases, tables, frame) for frame in frames]
    for frame, cases in zip(frames, held, strict=True):
        assert cases is not None
        at = cases.cases.timestamps
        assert ((at >= frame.starts_at) & (at < frame.ends_at)).all()
        midnight = at.astype("datetime64[D]").astype("datetime64[us]")
        expected = [max(day, frame.starts_at) for day in midnight]
        assert cases.cases.refresh_at.tolist() == np.array(expected).tolist()
        assert (cases.cases.refresh_at == frame.starts_at).any()
        assert (cases.cases.refresh_at > frame.starts_at).any()
    assert sum(map(len, filter(None, held))) == int((~test_cases["is_repeat"]).sum())


def test_a_frame_without_cases(tmp_path: Path) -> None:
    rows = [("ann", "x", "2024-01-01"), ("bob", "y", "2024-01-02"), ("ann", "y", "2024-01-04")]
    rows += [("ann", "y", "2024-01-05"), ("bob", "x", "2024-01-08")]  # the second frame has a repeat, the next nothing
    storage = write_tables(tmp_path, interactions_frame(rows), "2024-01-04", "2024-01-02", windows=5)
    tables, test_cases = load_tables(storage), storage.read_table("test_cases")
    frames = read_frames(storage, online_settings(tmp_path))
    sizes = [len(cases) if (cases := frame_cases(test_cases, tables, frame)) else 0 for frame in frames]
    assert sizes == [1, 0, 0, 0, 1]
    table = frame_table(frames, test_cases)
    assert table["cases"].tolist() == sizes
    assert table["frame"].tolist() == [frame.key for frame in frames]
    assert table["starts_at"].tolist() == [pd.Timestamp(frame.starts_at) for frame in frames]
