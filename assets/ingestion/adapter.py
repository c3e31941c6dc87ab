"""What a dataset must offer: its terms, where its files come from, its options, and how to read it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import Field

from assets.config import StrictModel
from assets.ingestion.content import TextOptions
from assets.ingestion.origins import Origin
from assets.ingestion.tables import RawTables


class AdapterOptions(StrictModel):
    """Options that every dataset has; a dataset's own ones are in a subclass."""

    max_quarantine_share: float = Field(
        0.05, ge=0, le=1, description="refuse a file of which more than this share of rows is set aside"
    )
    text: TextOptions | None = Field(None, description="item columns to make dense content of; none: no text is read")


Options = TypeVar("Options", bound=AdapterOptions)


@dataclass(frozen=True)
class Adapter(Generic[Options]):
    """One dataset.

    Args:
        name: what a user calls it; also its folder under ``THAW_DATA_DIR`` and ``data/``.
        licence: terms of use, in a line.
        citation: what to cite.
        origin: how its files are found or fetched.
        options: model of ``datasets.<name>`` in the settings; unknown keys are rejected.
        read: ``(folder, options, now)`` to raw tables. It screens rows (:mod:`assets.ingestion.validate`) and raises
            :class:`~assets.ingestion.errors.IngestionError` for structural problems; it writes nothing.
    """

    name: str
    licence: str
    citation: str
    origin: Origin
    options: type[Options]
    read: Callable[[Path, Options, datetime], RawTables]
