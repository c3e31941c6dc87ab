"""Frame by frame: what contenders know, what is kept on disk, and what a frame may not depend on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.config import ConfigError, Settings
from assets.evaluation.files import StaleResultsError
from assets.evaluation.studies import online, online_files
from assets.evaluation.studies.frames import Frame, read_frames
from assets.evaluation.studies.online import CONTENDER, CONTENDERS, FLOORS, NAMES, Study, net_config
from assets.evaluation.studies.online_files import frame_path, gather, run_frames
from assets.storage import Storage, write_parquet
from assets.stream import load_tables
from tests.assets.evaluation.studies.online_toy import ROWS, online_settings, online_tables, other_from
from tests.support import write_manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Tables with every frame made."""
    storage = online_tables(tmp_path_factory.mktemp("made"))
    settings = online_settings(storage.root.parent)
    run_frames(storage, settings, keys_of(storage))
    return storage


def keys_of(storage: Storage) -> list[str]:
    return [frame.key for frame in frames_of(storage)]


def frames_of(storage: Storage) -> list[Frame]:
    return read_frames(storage, online_settings(storage.root.parent))


def of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows[CONTENDER] == name].drop(columns=CONTENDER).reset_index(drop=True)


def test_every_contender_is_ranked_on_the_same_cases(made: Storage) -> None:
    results = gather(made, online_settings(made.root.parent))
    cases = made.read_table("test_cases")
    for result in results:
        inside = cases[(cases["window"] == result.frame.number) & ~cases["is_repeat"]]
        for name in NAMES:
            run = of(result.rows, name)
            assert sorted(run["source_row"]) == sorted(inside["source_row"])
            assert (run["frame"] == result.frame.number).all()
    assert [result.frame.number for result in results] == [0, 1, 2, 3]


def test_contenders_differ_in_what_they_are_named_after(made: Storage) -> None:
    rows = pd.concat([result.rows for result in gather(made, online_settings(made.root.parent))])
    nll = {name: of(rows, name)["nll"].to_numpy() for name in NAMES}
    for one in NAMES:
        for other in NAMES:
            assert one == other or not np.array_equal(nll[one], nll[other], equal_nan=True), (one, other)


def test_nets_of_the_study(tmp_path: Path) -> None:
    settings = online_settings(tmp_path, epochs=3)
    for trend, weight in ((True, 1.0), (False, 0.0)):
        config = net_config(settings, trend=trend)
        assert (config.net.trend.weight, config.net.trend.learned, config.max_epochs) == (weight, False, 3)
        assert config.net.dim == 4
    capped = settings.model_copy(update={"training": settings.training.model_copy(update={"max_epochs": 2})})
    assert net_config(capped, trend=True).max_epochs == 2


@pytest.mark.parametrize("model", ["popularity", "hrnn_mega"])
def test_only_nets_are_retrained(tmp_path: Path, model: str) -> None:
    online_config = {"online": {"model": model}}
    settings = Settings(home=tmp_path, dataset="toy", studies=online_config)
    with pytest.raises(ConfigError, match=f"studies.online.model: no net is called '{model}'"):
        net_config(settings, trend=True)


def test_the_online_nets_know_the_days_before_the_frame_and_the_offline_ones_all_before_the_cutoff(
    made: Storage,
) -> None:
    tables, frame = load_tables(made), frames_of(made)[2]
    study = Study(tables, online_settings(made.root.parent))
    for trained in study.online(frame).values():
        assert trained.trained_until == frame.starts_at
        assert trained.trained_from == frame.starts_at - np.timedelta64(4, "D")
    for trained in study.offline.values():
        assert (trained.trained_until, trained.trained_from) == (tables.cutoff, None)
    assert study.offline[True].config.net.trend.used
    assert not study.offline[False].config.net.trend.used


def test_frozen_contenders_do_not_see_the_test_period(made: Storage, tmp_path: Path) -> None:
    """Item vectors of what is frozen, the trend's among them, are those of the cutoff in every frame."""
    frozen = {each.name for each in CONTENDERS if each.items == "frozen"}
    assert frozen == {"offline", "offline, trend frozen"}
    tables, frame = load_tables(made), frames_of(made)[3]
    study = Study(tables, online_settings(made.root.parent))
    model = study.offline[True].over(tables)
    at_cutoff = model.item_vectors(tables.stream.before(tables.cutoff), tables.cutoff)
    later = model.item_vectors(tables.stream.before(frame.starts_at), frame.starts_at)
    assert not np.allclose(at_cutoff[:, -1], later[:, -1])
    assert np.allclose(at_cutoff[:, :-1], later[:, :-1])


def test_what_comes_after_a_frame_changes_nothing_of_it(made: Storage, tmp_path: Path) -> None:
    frame = frames_of(made)[2]
    other = online_tables(tmp_path, other_from(frame.ends_at, ROWS))
    assert keys_of(other) == keys_of(made)
    settings = online_settings(tmp_path)
    result = run_frames(other, settings, [frame.key])[frame.key]
    held = gather(made, online_settings(made.root.parent))[2]
    assert len(held.rows)
    pd.testing.assert_frame_equal(result.rows, held.rows)


def test_what_a_frame_holds_changes_no_weight_of_it(made: Storage, tmp_path: Path) -> None:
    """From its start on everything is other than it was; the nets trained before it are the same, bit for bit."""
    frame = frames_of(made)[2]
    changed = other_from(frame.starts_at, ROWS)
    one, other = (
        Study(load_tables(storage), online_settings(tmp_path)).online(frame)
        for storage in (made, online_tables(tmp_path, changed))
    )
    for trend in (True, False):
        weights, others = one[trend].net.state_dict(), other[trend].net.state_dict()
        assert all((weights[name] == others[name]).all() for name in weights)


def test_a_frame_made_again_is_equal(made: Storage, tmp_path: Path) -> None:
    again = online_tables(tmp_path)
    key = keys_of(made)[1]
    frame = frames_of(made)[1]
    run_frames(again, online_settings(tmp_path), [key])
    pd.testing.assert_frame_equal(pd.read_parquet(frame_path(again, frame)), pd.read_parquet(frame_path(made, frame)))


def test_a_known_frame_is_kept_and_a_new_one_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings, ran = online_tables(tmp_path), online_settings(tmp_path), []

    def counted(study: Study, frame: Frame, cases: object) -> online.FrameResult:
        ran.append((frame.number, study.settings.training.seed))
        return online.FrameResult(frame, online._no_rows(), {"training": 1.0})

    monkeypatch.setattr(online_files, "run_frame", counted)
    keys, said = keys_of(storage), list[str]()
    run_frames(storage, settings, keys[:2])
    results = run_frames(storage, settings, keys[1:], said.append)
    assert ran == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert list(results) == [keys[1], keys[2], keys[3]] and said[0] == "3 frames, 1 of them known"  # noqa: PT018
    assert results[keys[1]].seconds == {"training": 1.0}
    run_frames(storage, online_settings(tmp_path, seed=1), keys[:1])
    run_frames(storage, online_settings(tmp_path, epochs=2), keys[:1])
    assert ran[4:] == [(0, 1), (0, 0)]


def test_gathering_wants_every_frame_and_none_of_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, settings = online_tables(tmp_path), online_settings(tmp_path)
    keys = keys_of(storage)
    empty = lambda study, frame, cases: online.FrameResult(frame, online._no_rows())  # noqa: E731
    monkeypatch.setattr(online_files, "run_frame", empty)
    run_frames(storage, settings, keys[:2])
    with pytest.raises(FileNotFoundError, match=f"2 of 4 frames are not made, {keys[2]} to {keys[3]}"):
        gather(storage, settings)
    run_frames(storage, settings, keys[2:])
    assert [result.frame.key for result in gather(storage, settings)] == keys
    with pytest.raises(StaleResultsError, match=f"4 frames rest on other tables or settings.*{keys[0]} to {keys[3]}"):
        gather(storage, online_settings(tmp_path, epochs=9))
    table = storage.read_table("users").assign(city="oslo")
    write_parquet(storage.table("users"), table)
    write_manifest(storage)
    with pytest.raises(StaleResultsError):
        gather(storage, settings)


def test_a_frame_without_cases_is_a_file_without_rows(made: Storage, tmp_path: Path) -> None:
    repeats = ROWS + [(row[0], row[1], "2020-01-14 00:00:00") for row in ROWS[:3]]
    storage = online_tables(tmp_path, repeats)
    storage_frames = frames_of(storage)
    settings = online_settings(tmp_path)
    study = Study(load_tables(storage), settings)
    result = online.run_frame(study, storage_frames[0], None)
    assert result.rows.empty
    assert result.seconds == {}
    full = gather(made, online_settings(made.root.parent))[0].rows
    assert list(result.rows) == list(full)
    assert result.rows.dtypes.astype(str).tolist()[2:4] == full.dtypes.astype(str).tolist()[2:4]


def test_floors_are_the_counts_of_their_presets(made: Storage) -> None:
    study = Study(load_tables(made), online_settings(made.root.parent))
    kinds = [study.floor(name).config.kind for name in FLOORS]  # type: ignore[attr-defined]
    assert kinds == ["recent", "decayed"]
