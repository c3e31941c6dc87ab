"""Source timestamps to microseconds since 1970-01-01 UTC, as float64 with NaN for what cannot be parsed.

Float64 holds whole microseconds exactly until the year 2255; later ones are in the future of any run anyway.
"""

from enum import StrEnum

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
    numeric = not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type))
    if form is TimestampFormat.AUTO:
        numbers = to_numbers(values)
        blank = is_blank(values)
        form = _unit(numbers, where) if numeric or _all_numbers(numbers, blank) else TimestampFormat.ISO_8601
    if form is TimestampFormat.ISO_8601:
        return np.full(len(values), np.nan) if numeric else iso8601(values)
    return epoch(values, SECOND if form is TimestampFormat.EPOCH_SECONDS else MILLISECOND)


def _all_numbers(numbers: Micros, blank: NDArray[np.bool_]) -> bool:
    return bool(np.isfinite(numbers[~blank]).all() and (~blank).any())


def _typed(values: pa.Array) -> Micros:
    zone = getattr(values.type, "tz", None)
    instants = values.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    return pc.fill_null(instants.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)


def _unit(numbers: Micros, where: str) -> TimestampFormat:
    """The unit that all positive numbers agree on (the others are set aside later)."""
    positive = numbers[numbers > 0]
    ranges = {
        TimestampFormat.EPOCH_SECONDS: SECONDS_RANGE,
        TimestampFormat.EPOCH_MILLISECONDS: MILLISECONDS_RANGE,
    }
    for form, (low, high) in ranges.items():
        if len(positive) and ((positive >= low) & (positive < high)).all():
            return form
    raise IngestionError(
        f"{where}: cannot tell seconds from milliseconds; set timestamp_format to one of "
        f"{', '.join(form.value for form in TimestampFormat if form is not TimestampFormat.AUTO)}"
    )
