"""The default dataset: simulated, offline, the same for the same options. Never evidence about real data.

Features: genre (topic) and author of items; of users an age bucket and a region that tell their taste group most of
the time. See :mod:`assets.ingestion.simulation` for how engagements come about, and ``docs/simulator.md``.
"""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from assets.ingestion.adapter import Adapter
from assets.ingestion.origins import Generated
from assets.ingestion.simulation.days import simulate
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.tables import interactions_of, items_of, users_of
from assets.ingestion.simulation.world import make_world
from assets.ingestion.tables import RawTables

ROWS_AT_ONCE = 1_000_000


def read(folder: Path, options: SimulatedOptions, now: datetime) -> RawTables:
    """Simulate; ``folder`` is not read.

    Raises:
        IngestionError: when the last day would end after ``now``.
    """
    del folder
    start, scale = options.first_midnight(now), options.scale
    world = make_world(scale)
    days = tqdm(simulate(scale, world), total=scale.days, desc="simulated days", unit="day")
    interactions = pa.concat_tables(interactions_of(days, scale, start, ROWS_AT_ONCE))
    return RawTables(interactions, items_of(scale, world, start), users_of(scale, world))


DATASET = Adapter(
    name="simulated",
    licence="Apache-2.0, as Thaw itself",
    citation="none: simulated data, never evidence about real data",
    origin=Generated(),
    options=SimulatedOptions,
    read=read,
)
