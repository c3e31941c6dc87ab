"""Any folder of ``THAW_DATA_DIR`` with a ``mapping.yaml`` is a dataset of that folder's name: see ``docs/files.md``.

The mapping says which files of the folder hold what, in which columns and how they are written. It may come with data
from elsewhere, so nothing in it reaches outside its folder: files are named by patterns without a folder in them, links
out of it are refused, and the YAML can build nothing but text, numbers, lists and tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BeforeValidator, Field, ValidationError, create_model

from assets.config import ConfigError, StrictModel
from assets.ingestion.adapter import Adapter, AdapterOptions
from assets.ingestion.content import TextOptions
from assets.ingestion.datasets.files import Source, read_sources
from assets.ingestion.errors import IngestionError
from assets.ingestion.origins import Located
from assets.ingestion.own_files import matching
from assets.ingestion.own_tables import FilesOptions
from assets.ingestion.tables import RawTables
from assets.ingestion.timestamps import TimestampFormat
from assets.storage import DATASET_NAME, file_digest

MAPPING: Final = "mapping.yaml"
MOST_BYTES: Final = 1 << 20
OPTIONS: Final = {
    "user": "user_column",
    "item": "item_column",
    "timestamp": "timestamp_column",
    "value": "value_column",
    "event_type": "event_type_column",
    "title": "title_column",
    "created_at": "created_at_column",
    "content": "content_column",
}
"""Keys of a table -> the option of ``files`` that says the same; the other keys are called like theirs."""


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several)]


class TableMapping(StrictModel):
    """What every table says; a key that is left out is as for dataset ``files``."""

    files: Names = Field(min_length=1, description="name, pattern with * and ?, or a list of them, in this folder")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="of CSV files")
    encoding: str | None = Field(None, description="of CSV files")


class InteractionsMapping(TableMapping):
    """Which columns of engagements are what."""

    user: str | None = None
    item: str | None = None
    timestamp: str | None = None
    value: str | None = None
    event_type: str | None = None
    timestamp_format: TimestampFormat | None = None
    default_event_type: str | None = None
    event_values: dict[str, float] | None = None


class ItemsMapping(TableMapping):
    """Which columns of items are what."""

    item: str | None = None
    title: str | None = None
    created_at: str | None = None
    timestamp_format: TimestampFormat | None = None
    content: str | None = None
    features: Names | None = None
    leave_out: Names | None = None
    list_separator: str | None = Field(None, min_length=1)


class UsersMapping(TableMapping):
    """Which columns of users are what."""

    user: str | None = None
    features: Names | None = None
    leave_out: Names | None = None
    list_separator: str | None = Field(None, min_length=1)


class FolderMapping(StrictModel):
    """The content of a mapping file."""

    licence: str = Field("the user's own data", min_length=1)
    citation: str = Field("none", min_length=1)
    interactions: InteractionsMapping
    items: ItemsMapping | None = None
    users: UsersMapping | None = None
    text: TextOptions | None = Field(None, description="as datasets.<name>.text, which wins over it")
    max_quarantine_share: float = Field(0.05, ge=0, le=1, description="as datasets.<name>.max_quarantine_share")

    @property
    def tables(self) -> Mapping[str, InteractionsMapping | ItemsMapping | UsersMapping | None]:
        """The tables by name."""
        return {"interactions": self.interactions, "items": self.items, "users": self.users}


def is_mapped(name: str, data_dir: Path | None) -> bool:
    """Whether ``data_dir`` has a folder called ``name`` with a mapping; a name that is a path has none."""
    return data_dir is not None and DATASET_NAME.fullmatch(name) is not None and (data_dir / name / MAPPING).is_file()


def mapped_names(data_dir: Path | None) -> list[str]:
    """Every folder with a mapping, by name."""
    if data_dir is None or not data_dir.is_dir():
        return []
    return sorted(path.parent.name for path in data_dir.glob(f"*/{MAPPING}") if is_mapped(path.parent.name, data_dir))


def dataset(name: str, data_dir: Path) -> Adapter[Any]:
    """The dataset of a folder with a mapping.

    Raises:
        ConfigError: naming the file and the key, for a mapping that is not valid.
    """
    mapping = read_mapping(data_dir / name / MAPPING)
    options = create_model(
        "MappedOptions",
        __base__=AdapterOptions,
        text=(TextOptions | None, mapping.text),
        max_quarantine_share=(Annotated[float, Field(ge=0, le=1)], mapping.max_quarantine_share),
    )

    def read(folder: Path, options: AdapterOptions, now: datetime) -> RawTables:
        del options  # ingestion itself honours what every dataset has
        return read_sources([source(folder, table, mapping) for table in mapping.tables], now)

    return Adapter(name, mapping.licence, mapping.citation, MappedFiles(mapping), options, read)


def read_mapping(path: Path) -> FolderMapping:
    """The mapping in ``path``.

    Raises:
        ConfigError: naming the file and the key.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES} bytes, so it is no mapping; see docs/files.md")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        mapping = FolderMapping.model_validate(content)
        for table in mapping.tables:
            table_options(table, mapping)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'mapping'}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"{path} is not valid: {problems}. docs/files.md lists the keys") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or number that there is not
        raise ConfigError(f"{path}: is no YAML: {error}") from error
    return mapping


def table_options(table: str, mapping: FolderMapping) -> FilesOptions:
    """How one table is written, as options of ``files``: only what the mapping names is set."""
    part = mapping.tables[table]
    if part is None:
        return FilesOptions()
    said = {key: getattr(part, key) for key in part.model_fields_set if getattr(part, key) is not None}
    said.pop("files")
    kind = table.removesuffix("s")
    own = OPTIONS | {"features": f"{kind}_features", "leave_out": f"{kind}_columns_left_out"}
    return FilesOptions(**{own.get(key, key): value for key, value in said.items()})


def source(folder: Path, table: str, mapping: FolderMapping) -> Source:
    """The files of one table; none where the mapping has no such table.

    Raises:
        IngestionError: as :func:`~assets.ingestion.own_files.matching`.
    """
    part = mapping.tables[table]
    paths = [] if part is None else matching(folder, part.files, f"{MAPPING}: {table}.files")
    return Source(paths, table_options(table, mapping))


@dataclass(frozen=True)
class MappedFiles:
    """The files that a mapping names, in its own folder."""

    mapping: FolderMapping

    def locate(self, name: str, data_dir: Path | None, cache: Path) -> Located:  # noqa: ARG002 - Origin's signature
        """The folder, with the digests of the mapping and of all files that it names.

        Raises:
            IngestionError: for a file that is not there, or that the mapping may not name.
        """
        if data_dir is None or not (data_dir / name).is_dir():
            raise IngestionError(f"dataset {name!r}: its folder is gone; set THAW_DATA_DIR to the folder that holds it")
        folder = data_dir / name
        paths = [path for table in self.mapping.tables for path in source(folder, table, self.mapping).paths]
        return Located(folder, "local copy", {path.name: file_digest(path) for path in (folder / MAPPING, *paths)})
