"""How large what comes from outside may be before it is refused."""

from pydantic import Field

from assets.config.base import StrictModel

_GIB = 1 << 30


class LimitsConfig(StrictModel):
    """Bounds on files from outside: downloads, archives, own files and landed ones. What is larger is refused."""

    download_bytes: int = Field(64 * _GIB, ge=1, description="of one downloaded file")
    archive_members: int = Field(10_000, ge=1, description="files in one ZIP archive")
    source_bytes: int = Field(64 * _GIB, ge=1, description="of one file of a dataset as it lies on disk")
    landed_bytes: int = Field(4 * _GIB, ge=1, description="of one landed file")
    unpacked_bytes: int = Field(16 * _GIB, ge=1, description="of one compressed file, unpacked")
    unpacked_ratio: float = Field(
        100.0, ge=1, description="unpacked over packed bytes, from 64 MiB on; logs have 5 to 20"
    )
    columns: int = Field(2000, ge=1, description="of one CSV or Parquet file, nested ones counted")
    rows: int = Field(1_000_000_000, ge=1, description="of one Parquet file; in lists, of values too")
    row_groups: int = Field(100_000, ge=1, description="of one Parquet file")
    table_bytes: int = Field(16 * _GIB, ge=1, description="of one Parquet file, decoded")
    text_bytes: int = Field(1 << 20, ge=1, description="of the longest text in one Parquet file")
