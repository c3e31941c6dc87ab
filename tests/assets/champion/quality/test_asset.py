"""The asset: partitions in one run, metadata per partition, the figure on one of them, the alert's words."""

import dagster as dg

from assets import keys
from assets.champion.quality import files
from assets.champion.quality.assets import quality_over_time
from assets.champion.quality.files import AGAIN
from tests.assets.serving.live.conftest import Live


def materialize(live: Live, partitions):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(keys.LANDED_PARTITIONS, list(partitions))
        done = dg.materialize(
            [quality_over_time],
            instance=instance,
            resources={"storage": live.storage, "settings": live.settings},
            tags={
                "dagster/asset_partition_range_start": partitions[0],
                "dagster/asset_partition_range_end": partitions[-1],
            },
        )
        assert done.success
        events = done.get_asset_materialization_events()
        return {event.partition: event.materialization.metadata for event in events}


def test_partitions_of_a_run_and_what_they_say(live: Live) -> None:
    live.land([("u01", "brand new", "2024-03-07T02:00:00"), ("u02", "brand new", "2024-03-08T02:00:00")])
    live.process()
    said = materialize(live, ["2024-03-01", "2024-03-07", "2024-03-08"])
    assert {name: said[name]["cases"].value for name in said} == {"2024-03-01": 0, "2024-03-07": 1, "2024-03-08": 1}
    assert 0 <= said["2024-03-07"]["champion_ndcg@10"].value <= 1
    assert "champion_ndcg@10" not in said["2024-03-01"]
    assert [name for name in said if "figure" in said[name]] == ["2024-03-08"]
    assert said["2024-03-08"]["figure"].value.startswith("![quality](data:image/png;base64,iVBOR")
    assert said["2024-03-08"]["alert"].value.startswith("not judged: ")
    assert said["2024-03-08"]["of_those_for_the_alert"].value == 3
    assert files.alert_path(live.storage).exists()


def test_it_is_named_and_described() -> None:
    spec = next(iter(quality_over_time.specs))
    assert spec.key == dg.AssetKey(keys.QUALITY_OVER_TIME)
    assert "/".join(keys.QUALITY_OVER_TIME) in AGAIN
    assert (spec.group_name, list(spec.owners)) == (keys.CHAMPION, [keys.OWNER])
    assert spec.description
