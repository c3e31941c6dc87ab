"""One run of raw tables -> dbt -> export in its own process, on a shared instance.

``tests/assets/test_dbt.py`` starts it. Arguments: folder of the data, file whose appearance starts the run. Prints
``ready`` before it waits, and ``held BEGIN END`` (seconds) for every time it held the warehouse's lock.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from assets import dbt, keys
from assets.config import Settings
from assets.dbt import ASSETS
from assets.storage import Storage, locked
from orchestration.slots import process_tags
from tests.transforms.raw import small_raw


@dg.multi_asset(specs=[dg.AssetSpec(key) for key in (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS)])
def raw(storage: dg.ResourceParam[Storage]) -> Iterator[dg.MaterializeResult]:
    small_raw(storage)
    for key in (keys.RAW_INTERACTIONS, keys.RAW_ITEMS, keys.RAW_USERS):
        yield dg.MaterializeResult(asset_key=key)


@contextmanager
def timed_lock(path: Path) -> Iterator[None]:
    with locked(path):
        begin = time.time()
        yield
        print(f"held {begin} {time.time()}", flush=True)


def main(home: Path, start: Path) -> None:
    settings = Settings(dataset="toy", home=home)
    dbt.locked = timed_lock
    print("ready", flush=True)
    while not start.exists():
        time.sleep(0.05)
    result = dg.materialize(
        [raw, *ASSETS],
        instance=dg.DagsterInstance.get(),
        resources={"storage": settings.storage, "settings": settings},
        tags=process_tags(),
    )
    sys.exit(0 if result.success else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
