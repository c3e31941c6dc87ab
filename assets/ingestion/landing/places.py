"""Where landed files lie on their way, and what kinds there are.

    landing/<kind>/<name>                                     dropped by somebody
    landing/claimed/<partition>/<stamp>--<kind>--<name>       seen, not yet applied
    landing/done/<partition>/<stamp>--<kind>--<name>          applied
    landing/quarantine/<stamp>--<kind>--<name>                refused, with <...>.reason.txt beside it
    landing/quarantine/<stamp>--<kind>--<name>.rows.parquet   rows of an accepted file that were set aside
    landing/reading/<stamp>--<kind>--<name>, look-<digest>    marks of files that are read, see :mod:`.marks`
    live/landed/<kind>/<partition>/*.parquet                  canonical copies, see :mod:`.batches`

The stamp, microseconds of the wall clock, is different for every file, so equal names never meet.
"""

import os
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from assets.storage import Storage, encodable

SUFFIXES: Final = (".csv", ".parquet")
SEPARATOR: Final = "--"
MAX_NAME_BYTES: Final = 120
"""Of the dropped name that are kept: file systems allow 255 in all, and more is put behind it."""
MAX_SUFFIX_BYTES: Final = 16
LOOK: Final = "look-"
"""Names of marks of dropped files begin so."""


class Kind(StrEnum):
    """What a landed file holds."""

    ENGAGEMENTS = "engagements"
    ITEMS = "items"


def drop_zone(storage: Storage, kind: str) -> Path:
    return storage.landing / kind


def claimed_folder(storage: Storage) -> Path:
    return storage.landing / "claimed"


def done_folder(storage: Storage) -> Path:
    return storage.landing / "done"


def quarantine_folder(storage: Storage) -> Path:
    return storage.landing / "quarantine"


def reading_folder(storage: Storage) -> Path:
    """Folder of marks: of claimed files that are being read, under their names; of dropped ones (:func:`look_mark`)."""
    return storage.landing / "reading"


def look_mark(storage: Storage, path: Path, state: os.stat_result) -> Path:
    """Mark of a dropped file that is looked at; another file under the same name, or new content, has another."""
    identity = f"{path.parent.name}/{encodable(path.name)}:{state.st_ino}:{state.st_size}:{state.st_mtime_ns}"
    return reading_folder(storage) / f"{LOOK}{sha256(identity.encode()).hexdigest()[:16]}"


def landed_folder(storage: Storage, kind: str) -> Path:
    return storage.live / "landed" / kind


def claim_lock(storage: Storage) -> Path:
    """File whose lock is held while files are claimed."""
    return storage.landing / "claim.lock"


@dataclass(frozen=True)
class ClaimedFile:
    """A file that was seen and not applied yet.

    Attributes:
        path: where it lies.
        kind: ``engagements`` or ``items``.
        partition: that it was claimed for.
        name: that it was dropped under (long or unprintable ones shortened).
        seen_at: wall clock, microseconds; different for every file.
        landed_at: when it was last written, wall clock, microseconds.
    """

    path: Path
    kind: str
    partition: str
    name: str
    seen_at: int
    landed_at: int


def stamped_name(kind: str, name: str, seen_at: int) -> str:
    """What a file is called behind the drop zone; short enough for what is put beside it."""
    printable = "".join(letter if letter.isprintable() else "_" for letter in encodable(name))
    stem, suffix = os.path.splitext(printable)  # noqa: PTH122 - a name, not a path
    return f"{seen_at}{SEPARATOR}{kind}{SEPARATOR}{_cut(stem, MAX_NAME_BYTES)}{_cut(suffix, MAX_SUFFIX_BYTES)}"


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode("utf-8", "ignore")


def parse_stamped(name: str) -> tuple[int, str, str] | None:
    """Stamp, kind and name of what :func:`stamped_name` made; ``None`` for any other name."""
    stamp, _, rest = name.partition(SEPARATOR)
    kind, _, original = rest.partition(SEPARATOR)
    if not stamp.isdigit() or kind not in set(Kind) or not original:
        return None
    return int(stamp), kind, original
