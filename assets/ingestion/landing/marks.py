"""Marks of files that are being read, which outlive the process that reads.

A file that ends its process (out of memory, a fault in a library) would end every later one as well. So a mark is set
before a file is read and taken away after; a file with too many marks is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from assets.ingestion.landing.errors import LandingError

DEATHS: Final = 3
"""Processes that ended while they read one file, until it is refused."""


@contextmanager
def marked(mark: Path, name: str) -> Iterator[None]:
    """Keep the file ``mark`` during the block, and for ever if the process ends in it.

    Args:
        name: of the file that is read in the block, for messages.

    Raises:
        LandingError: without entering the block, when that ended ``DEATHS`` processes; it may be tried anew then.
    """
    mark.parent.mkdir(parents=True, exist_ok=True)
    with mark.open("ab") as handle:
        deaths = handle.tell()
        if deaths < DEATHS:
            handle.write(b"x")
    try:
        if deaths >= DEATHS:
            raise LandingError(
                f"{name}: {deaths} processes ended while they read this file; "
                "it may be too large for the memory: cut it into smaller ones"
            )
        yield
    finally:  # not reached by a process that is killed
        mark.unlink(missing_ok=True)
