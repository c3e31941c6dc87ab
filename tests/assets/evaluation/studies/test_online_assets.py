"""The study in Dagster: frames are registered, a range of them is made in one run, and all are gathered."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets import keys
from assets.config import ConfigError
from assets.evaluation.studies.assets import frames, online, online_frames
from assets.evaluation.studies.files import read_study
from assets.evaluation.studies.frames import frame_keys, read_frames
from assets.evaluation.studies.online_files import frame_path
from assets.evaluation.studies.registry import find
from assets.partitions import FRAMES
from assets.storage import Storage
from tests.assets.evaluation.studies.online_toy import online_settings, online_tables


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as held:
        yield held


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    return online_tables(tmp_path_factory.mktemp("study"))


def run(
    asset: dg.AssetsDefinition, storage: Storage, instance: dg.DagsterInstance, *span: str
) -> dg.ExecuteInProcessResult:
    resources = {"storage": storage, "settings": online_settings(storage.root.parent)}
    tags = {ASSET_PARTITION_RANGE_START_TAG: span[0], ASSET_PARTITION_RANGE_END_TAG: span[1]} if span else None
    # The others are there to be looked up, not run: a run wants to know the partitions of what an asset reads.
    return dg.materialize(
        [frames, online_frames, online], selection=[asset], resources=resources, instance=instance, tags=tags
    )


def materializations(instance: dg.DagsterInstance, key: keys.Key) -> list[dg.AssetMaterialization]:
    records = instance.fetch_materializations(dg.AssetKey(key), limit=100, ascending=True).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def test_frames_are_registered_and_those_of_another_split_go(storage: Storage, instance: dg.DagsterInstance) -> None:
    wanted = frame_keys(storage, online_settings(storage.root.parent))
    instance.add_dynamic_partitions(keys.FRAME_PARTITIONS, ["1999-01-01T00-00-00Z", wanted[2]])
    for _ in range(2):
        run(frames, storage, instance)
        assert list(instance.get_dynamic_partitions(keys.FRAME_PARTITIONS)) == wanted
    (shown, _) = (each.metadata for each in materializations(instance, keys.FRAMES))
    assert shown["dagster/row_count"].value == 4
    assert all(key in str(shown["frames"].value) for key in wanted)


def test_a_range_is_made_in_one_run_and_then_all_is_gathered(storage: Storage, instance: dg.DagsterInstance) -> None:
    settings = online_settings(storage.root.parent)
    wanted = frame_keys(storage, settings)
    run(frames, storage, instance)
    assert online_frames.backfill_policy == dg.BackfillPolicy.single_run()
    run(online_frames, storage, instance, wanted[0], wanted[2])
    made = sorted(materializations(instance, keys.ONLINE_FRAMES), key=lambda each: each.partition or "")
    assert [each.partition for each in made] == wanted[:3]
    for each, frame in zip(made, read_frames(storage, settings), strict=False):
        cases, rows = each.metadata["cases"].value, each.metadata["dagster/row_count"].value
        assert isinstance(cases, int)
        assert (cases > 0, rows) == (True, 7 * cases)
        assert each.metadata["path"].value == str(frame_path(storage, frame))
    with pytest.raises(FileNotFoundError, match=f"1 of 4 frames are not made, {wanted[3]}"):
        run(online, storage, instance)
    run(online_frames, storage, instance, wanted[3], wanted[3])
    run(online, storage, instance)
    (shown,) = (each.metadata for each in materializations(instance, keys.ONLINE))
    assert isinstance(shown["bar held"].value, bool)
    assert "data:image/png;base64" in str(shown["figure"].value)
    held = read_study(storage, settings, find("online"))
    assert held.text == shown["table"].value
    assert held.figure is not None
    assert len(held.table) == shown["dagster/row_count"].value
    assert {"model", "window_days", "nets", "floors"} <= set(held.account["config"]["frames"])


def test_a_run_without_partitions_says_what_to_do(storage: Storage, instance: dg.DagsterInstance) -> None:
    with pytest.raises(ConfigError, match="made per frame: use `thaw studies --only online`"):
        run(online_frames, storage, instance)


def test_assets_say_what_they_are() -> None:
    for asset, key in ((frames, keys.FRAMES), (online_frames, keys.ONLINE_FRAMES), (online, keys.ONLINE)):
        spec = asset.specs_by_key[dg.AssetKey(key)]
        assert (spec.group_name, list(spec.owners)) == (keys.STUDIES, [keys.OWNER])
        assert spec.description
        assert spec.kinds
    assert online_frames.partitions_def == FRAMES


def test_the_study_is_registered_under_its_split() -> None:
    study = find("online")
    assert [step.key for step in study.steps] == [keys.FRAMES, keys.ONLINE_FRAMES, keys.ONLINE]
    partitions = study.steps[1].partitions
    assert partitions is not None
    assert partitions.name == FRAMES.name == keys.FRAME_PARTITIONS
    assert study.split == {"kind": "fraction", "frame": "week"}
