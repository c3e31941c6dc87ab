"""The studies of test windows, in the order in which ``thaw studies`` runs them and its page shows them.

A new study is a pure module beside this one that writes ``storage.studies/<name>.md`` (and ``<name>.parquet``, perhaps
``<name>.png``), an asset in ``assets.py``, and a line in :data:`STUDIES`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assets import keys
from assets.config import Settings
from assets.storage import Storage


@dataclass(frozen=True)
class Partitions:
    """Dynamic partitions of an asset that a study makes in one run over all of them.

    Attributes:
        name: of the dynamic partitions, as the asset's definition has it.
        of: every partition key in order, from the exported tables; called when those are there.
    """

    name: str
    of: Callable[[Storage, Settings], Sequence[str]]


@dataclass(frozen=True)
class Step:
    """One asset of a study; ``partitions`` where it is partitioned."""

    key: keys.Key
    partitions: Partitions | None = None


@dataclass(frozen=True)
class Study:
    """One table of the page.

    Attributes:
        name: on the command line, and stem of its files in ``storage.studies``.
        title: its heading on the page.
        steps: its assets, in the order in which they are made.
        split: fields of :class:`assets.config.SplitConfig` that it needs otherwise than configured, ``kind`` among
            them; empty where any split with a cutoff in time will do.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    split: Mapping[str, Any] = field(default_factory=dict)


def _frames(storage: Storage, settings: Settings) -> Sequence[str]:
    from assets.evaluation.studies.frames import frame_keys  # noqa: PLC0415 - the command line loads this module

    return frame_keys(storage, settings)


STUDIES: Final[tuple[Study, ...]] = (
    Study("feature_groups", "Perplexity by feature group", (Step(keys.FEATURE_GROUPS),)),
    Study("sessions", "Sessions: one level or two", (Step(keys.SESSIONS),)),
    Study("ratings", "Ratings with and without feedback", (Step(keys.RATINGS),)),
    Study("cold_items", "Cold items by their features", (Step(keys.COLD_ITEMS),), {"kind": "held_out_items"}),
    Study("time_sensitivity", "Time since the last engagement", (Step(keys.TIME_SENSITIVITY),)),
    Study(
        "online",
        "Retraining with item trend corrections",
        (Step(keys.FRAMES), Step(keys.ONLINE_FRAMES, Partitions(keys.FRAME_PARTITIONS, _frames)), Step(keys.ONLINE)),
        # Frames of an hour, as the paper's, would be thousands of trainings: the datasets here cover months, and a week
        # of them holds some thousand cases.
        {"kind": "fraction", "frame": "week"},
    ),
)


def find(name: str) -> Study:
    """A study by its name.

    Raises:
        ValueError: naming the known ones.
    """
    for study in STUDIES:
        if study.name == name:
            return study
    raise ValueError(f"no study is called {name!r}; known: {', '.join(study.name for study in STUDIES)}")
