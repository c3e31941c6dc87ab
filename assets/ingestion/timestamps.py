"""Source timestamps to microseconds since 1970-01-01 UTC, as float64 with NaN for what cannot be parsed.

Float64 holds whole microseconds exactly until the year 2255; later ones are in the future of any run anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from assets.ingestion.errors import IngestionError
from assets.ingestion.validate import is_blank, to_numbers

Micros = NDArray[np.float64]

SECOND = 1e6
MILLISECOND = 1e3
# As seconds these are 1973 to 2286, as milliseconds likewise: no number of recent times lies in both.
SECONDS_RANGE = (1e8, 1e10)
MILLISECONDS_RANGE = (1e11, 1e13)
MOST_INT64: Final = (1 << 63) - 1
MOST_MICROS: Final = (1 << 63) // 1000
"""Instants that nanoseconds since 1970 can say, 1677 to 2262, are timestamps; no others."""
FIRST_LOOK: Final = 1000


class TimestampFormat(StrEnum):
    """How a timestamp column is written."""

    AUTO = "auto"
    ISO_8601 = "iso8601"
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MILLISECONDS = "epoch_milliseconds"


def epoch(values: pa.Array, unit: float) -> Micros:
    """[N] numbers, or text of numbers, in units of ``unit`` microseconds."""
    return np.round(to_numbers(values) * unit)


def iso8601(values: pa.Array) -> Micros:
    """[N] ISO 8601 texts from ``YYYY-MM-DD`` to fractions of seconds; without an offset they are UTC."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):  # all without an offset, or all with one
        try:
            return _within_nanoseconds(_typed(values.cast(kind)))
        except pa.ArrowInvalid:
            continue
    return _iso8601_of_any_kind(values)


def _iso8601_of_any_kind(values: pa.Array) -> Micros:
    """As :func:`iso8601`, ten times slower: whatever pandas takes that begins with a date."""
    dated = pc.fill_null(pc.match_substring_regex(values, r"^\s*\d{4}-\d{2}-\d{2}"), False)
    text = pc.utf8_trim_whitespace(pc.if_else(dated, values, pa.scalar(None, values.type))).to_pandas()
    return _from_pandas(pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce"))


def day_month_year(values: pa.Array) -> Micros:
    """[N] dates like ``01-Jan-1995`` (English months, whatever the locale)."""
    parts = pc.extract_regex(pc.fill_null(values, ""), r"^\s*(?P<d>\d{1,2})-(?P<m>[A-Za-z]{3})-(?P<y>\d{4})\s*$")
    months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
    month = pc.index_in(pc.utf8_lower(pc.struct_field(parts, "m")), value_set=pa.array(months))
    frame = pd.DataFrame(
        {
            "year": pd.to_numeric(pc.struct_field(parts, "y").to_pandas()),
            "month": month.to_pandas() + 1,
            "day": pd.to_numeric(pc.struct_field(parts, "d").to_pandas()),
        }
    )
    return _from_pandas(pd.to_datetime(frame, utc=True, errors="coerce"))


def _from_pandas(instants: pd.Series) -> Micros:
    micros = instants.dt.tz_localize(None).to_numpy("datetime64[us]")
    return np.where(np.isnat(micros), np.nan, micros.astype(np.int64).astype(np.float64))


def parse(values: pa.Array, form: TimestampFormat, where: str) -> Micros:
    """[N] timestamps of any column type: timestamps and dates as they are, numbers and text by ``form``.

    Args:
        where: file and column, for the message.

    Raises:
        IngestionError: when ``form`` is ``auto`` and the numbers could be more than one unit, or when it says epoch
            and the column is of a time type already.
    """
    if pa.types.is_temporal(values.type):
        return _typed(values)
    if not len(values):
        return np.empty(0)  # nothing to tell a unit by, and nothing to convert
    if form is TimestampFormat.AUTO:
        form = form_of([evidence(values)], where)
    if form is TimestampFormat.ISO_8601:
        return iso8601(values) if _is_text(values.type) else np.full(len(values), np.nan)
    return epoch(values, SECOND if form is TimestampFormat.EPOCH_SECONDS else MILLISECOND)


@dataclass(frozen=True)
class Evidence:
    """What some rows of a column show of how its timestamps are written.

    Args:
        words: whether some field is neither a number nor empty.
        numbers: whether some field is a number, or every field has to be.
        lowest, highest: of the positive numbers; infinity and 0 where there is none.
    """

    words: bool = False
    numbers: bool = False
    lowest: float = np.inf
    highest: float = 0.0


def evidence(values: pa.Array) -> Evidence:
    """What fields [N] of any column type show; time types show nothing, as there is nothing to find out."""
    if pa.types.is_temporal(values.type) or not len(values):
        return Evidence()
    if not _is_text(values.type):
        return _span(to_numbers(values), numbers=True)
    first = values.slice(0, FIRST_LOOK)
    if _words(to_numbers(first), first):  # saves the parsing of a whole column of dates
        return Evidence(words=True)
    numbers = to_numbers(values)
    return Evidence(words=True) if _words(numbers, values) else _span(numbers, bool(np.isfinite(numbers).any()))


def _words(numbers: Micros, values: pa.Array) -> bool:
    unknown = np.isnan(numbers)
    return bool(unknown.any() and not is_blank(values.filter(pa.array(unknown))).all())


def _span(values: Micros, numbers: bool) -> Evidence:
    positive = values[values > 0]
    if not len(positive):
        return Evidence(numbers=numbers)
    return Evidence(numbers=numbers, lowest=float(positive.min()), highest=float(positive.max()))


def form_of(shown: Sequence[Evidence], where: str) -> TimestampFormat:
    """The form that all rows of a column agree on.

    Raises:
        IngestionError: when they are numbers of more than one unit, or of a unit that cannot be told.
    """
    if any(one.words for one in shown) or not any(one.numbers for one in shown):
        return TimestampFormat.ISO_8601
    return _unit(min(one.lowest for one in shown), max(one.highest for one in shown), where)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _typed(values: pa.Array) -> Micros:
    """Instants of a time type; NaN for those beyond 64 bits of microseconds, which a cast would wrap around."""
    zone = getattr(values.type, "tz", None)
    if (most := _most(values.type)) is not None:
        counts = (values.cast(pa.int32()) if pa.types.is_date32(values.type) else values).cast(pa.int64())
        sayable = pc.and_(pc.less_equal(counts, most), pc.greater_equal(counts, -most))
        values = pc.if_else(sayable, values, pa.scalar(None, values.type))
    instants = values.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    return pc.fill_null(instants.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)


def _most(kind: pa.DataType) -> int | None:
    """How many days, seconds or milliseconds 64 bits of microseconds hold; ``None`` for types of finer units."""
    if pa.types.is_date32(kind):
        return MOST_INT64 // 86_400_000_000
    if pa.types.is_date64(kind) or kind.unit == "ms":
        return MOST_INT64 // 1000
    return MOST_INT64 // 1_000_000 if kind.unit == "s" else None


def _within_nanoseconds(micros: Micros) -> Micros:
    """NaN for what pandas cannot parse: a text's fate must not depend on those beside it."""
    outside = np.abs(micros) > MOST_MICROS
    return np.where(outside, np.nan, micros) if outside.any() else micros


def _unit(lowest: float, highest: float, where: str) -> TimestampFormat:
    """The unit that all positive numbers agree on (the others are set aside later)."""
    ranges = {
        TimestampFormat.EPOCH_SECONDS: SECONDS_RANGE,
        TimestampFormat.EPOCH_MILLISECONDS: MILLISECONDS_RANGE,
    }
    for form, (low, high) in ranges.items():
        if low <= lowest <= highest < high:
            return form
    raise IngestionError(
        f"{where}: cannot tell seconds from milliseconds; set timestamp_format to one of "
        f"{', '.join(form.value for form in TimestampFormat if form is not TimestampFormat.AUTO)}"
    )
