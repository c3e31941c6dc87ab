"""``release.json``: the record beside a released checkpoint, and how it is read.

    <release>/
        release.json      written last; the folder is renamed into place when it is whole
        checkpoint/       the files of the checkpoint, as training wrote them

A record may come from anywhere, as a checkpoint may: its size is bounded, unknown keys are refused, and the files it
names are those a checkpoint of Thaw has, never a path.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, field_validator

from assets.config import Protocol, StrictModel
from assets.storage import DATASET_NAME, file_digest
from assets.training.checkpoints import MANIFEST, CheckpointError, load_counting
from assets.training.counting import CountingRecommender
from assets.training.untrusted import UntrustedError, refuse_names

RECORD: Final = "release.json"
CHECKPOINT: Final = "checkpoint"
FORMAT: Final = 1
RECORD_BYTES: Final = 1 << 22
MOST: Final = (1 << 63) - 1
"""What a count or a seed can be: ranks and metrics hold both as int64."""


class ReleaseError(RuntimeError):
    """There is no release, or none that can be made or read; the message says what to do."""


class FileRecord(StrictModel):
    """One file of the checkpoint."""

    sha256: str
    bytes: int


class DataRecord(StrictModel):
    """The tables that the checkpoint was trained and judged on.

    Attributes:
        dataset: registered name.
        tables: version of the exported tables.
        raw: version of the raw tables behind them.
        split: the dbt vars, which say how they were cut.
        files: table -> SHA-256 of its Parquet.
    """

    dataset: str = Field(pattern=f"^{DATASET_NAME.pattern}$")
    tables: str
    raw: str
    split: dict[str, Any]
    files: dict[str, str]


class Conditions(StrictModel):
    """All that the headline depends on besides the checkpoint and the tables.

    Attributes:
        protocol: of full ranking.
        k: of NDCG@k.
        max_cases: of more test cases, so many were drawn.
        fallback: who ranked for users without history, with its smoothing, as JSON.
        samples: bootstrap draws of users.
        seed: of the draws.
    """

    protocol: Protocol
    k: int = Field(ge=1, le=10_000)
    max_cases: int = Field(ge=1)
    fallback: str
    samples: int = Field(ge=2, le=100_000)
    seed: int = Field(ge=0, le=MOST)

    @field_validator("fallback")
    @classmethod
    def _counts(cls, text: str) -> str:
        counting_of(text, "1970-01-01")
        return text


class Headline(StrictModel):
    """NDCG@k over the cases of users with a history, every window, with its 95 % interval from a bootstrap over users.

    Attributes:
        cases: behind the value.
    """

    # A NaN is neither more nor less than anything: a comparison with it could pass.
    value: float = Field(allow_inf_nan=False)
    ci_low: float = Field(allow_inf_nan=False)
    ci_high: float = Field(allow_inf_nan=False)
    cases: int = Field(ge=1, le=MOST)


class Program(StrictModel):
    """What made it; another program may give other last digits.

    Attributes:
        packages: of those that results depend on, name -> version.
        machine: architecture of the processor.
    """

    thaw: str
    git_revision: str
    python: str
    packages: dict[str, str]
    machine: str
    threads: int


class Release(StrictModel):
    """The record.

    Attributes:
        checkpoint: digest of its manifest, by which ranks and indexes name it.
        files: name -> what it is; the manifest among them.
        released_at: ISO 8601, UTC.
    """

    format: Literal[1] = FORMAT
    model: str
    seed: int
    checkpoint: str
    files: dict[str, FileRecord]
    data: DataRecord
    conditions: Conditions
    headline: Headline
    program: Program
    released_at: str


def read_release(folder: Path) -> Release:
    """The record of the release in ``folder``.

    Raises:
        ReleaseError: when there is none that this version reads.
    """
    path = folder / RECORD
    if not path.is_file():
        raise ReleaseError(f"{path} does not exist: name a folder that `thaw release` made")
    if (size := path.stat().st_size) > RECORD_BYTES:
        raise ReleaseError(f"{path} has {size} bytes, more than any record ({RECORD_BYTES}): get the release again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        held = content.get("format") if isinstance(content, dict) else None
        if held != FORMAT:
            raise ReleaseError(f"{path} has format {held!r}, this version reads {FORMAT}: use the version that made it")
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is no text, and could not be told
        release = Release(**content)
        refuse_names([name for name in release.files if name != MANIFEST])
    except ValidationError as error:
        raise ReleaseError(f"{path} is no record of a release ({first_fault(error)}): get it again") from error
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{path} is not JSON ({error}): get the release again") from error
    except UntrustedError as error:
        raise ReleaseError(f"{path} {error}: take the release from whom you trust") from error
    return release


def first_fault(error: ValidationError) -> str:
    """The first key that does not hold what it must, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def counting_of(fallback: str, cutoff: str) -> CountingRecommender:
    """The model that ranks for users without history.

    Args:
        fallback: as :class:`Conditions` holds it.
        cutoff: of the tables, ISO 8601.

    Raises:
        ValueError: when ``fallback`` describes no counting model.
    """
    try:
        return load_counting({"config": json.loads(fallback), "bounds": {"cutoff": cutoff}})
    except (CheckpointError, ValueError, RecursionError) as error:
        raise ValueError(f"is no counting model: {fallback[:100]}") from error


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Every file of the checkpoint in ``folder``, read to its end."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: FileRecord(sha256=file_digest(path), bytes=path.stat().st_size) for path in paths}
