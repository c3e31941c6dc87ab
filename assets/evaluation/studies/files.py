"""A study's results on disk: a table, a page's text and perhaps a figure, and what they rest on.

The table's file carries the account of its making and is written last, with the digests of the others: a reader finds
results that belong together, or learns that they do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from assets.config import Settings
from assets.evaluation.files import StaleResultsError, read_account, write_with_account
from assets.evaluation.studies.registry import Study
from assets.storage import Storage, file_digest, read_parquet, write_bytes, write_text
from assets.training.checkpoints import git_revision, tables_version

FORMAT: Final = 1
AGAIN: Final = "run `thaw studies --dataset {dataset} --only {name}`"


@dataclass(frozen=True)
class StudyResults:
    """What a study left.

    Attributes:
        text: Markdown without a heading of its own; headings in it are of level 3 or below. A figure is linked by its
            file name, ``<name>.png``.
        figure: path, where there is one.
        account: what :func:`write_study` wrote: ``dataset``, ``split``, ``tables``, ``config``, ``seeds``,
            ``git_revision``, and the digests of the ``files``.
    """

    name: str
    table: pd.DataFrame
    text: str
    figure: Path | None
    account: dict[str, Any]


def table_path(storage: Storage, name: str) -> Path:
    """The study's table, with its account."""
    return storage.studies / f"{name}.parquet"


def text_path(storage: Storage, name: str) -> Path:
    """The study's section of the page."""
    return storage.studies / f"{name}.md"


def figure_path(storage: Storage, name: str) -> Path:
    """The study's figure."""
    return storage.studies / f"{name}.png"


def write_study(
    storage: Storage,
    settings: Settings,
    name: str,
    table: pd.DataFrame,
    text: str,
    figure: bytes | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a study's results atomically, and return the path of its table.

    Args:
        table: tidy rows.
        text: Markdown, see :attr:`StudyResults.text`.
        figure: PNG.
        config: what else the numbers rest on, JSON values: hyper-parameters of the variants, numbers of cases ....

    Raises:
        TablesError: when there is no export, or a table is not the one that it wrote.
    """
    first = settings.training.seed
    account = {
        "study": name,
        "format": FORMAT,
        "dataset": storage.dataset,
        "split": settings.split.model_dump(mode="json"),
        "tables": tables_version(storage),
        "seeds": list(range(first, first + settings.training.seeds)),
        "config": dict(config or {}),
        "git_revision": git_revision(),
    }
    written = [write_text(text_path(storage, name), text)]
    if figure is None:
        figure_path(storage, name).unlink(missing_ok=True)  # an older one would not be of these numbers
    else:
        written.append(write_bytes(figure_path(storage, name), figure))
    files = {path.name: file_digest(path) for path in written}
    return write_with_account(table_path(storage, name), table, {**account, "files": files})


def kept_account(path: Path, basis: object) -> dict[str, Any] | None:
    """The account of a finished part of a study, if it is there and rests on ``basis``, its entry of that name."""
    try:
        account = read_account(path, "run the study")
    except (FileNotFoundError, StaleResultsError):
        return None
    return account if account["basis"] == basis else None


def read_study(storage: Storage, settings: Settings, study: Study) -> StudyResults:
    """The results of a study, after making sure that they are whole and rest on the tables and split as they are.

    Raises:
        FileNotFoundError: when there are none.
        StaleResultsError: when a file is missing or another's, or the numbers rest on other tables or another split.
        TablesError: when there are no tables to compare with.
    """
    name, again = study.name, AGAIN.format(dataset=storage.dataset, name=study.name)
    path = table_path(storage, name)
    account = read_account(path, again)
    wanted = {
        "format": FORMAT,
        "split": settings.split.model_dump(mode="json"),
        "tables": tables_version(storage),
        "files": {name: _digest(storage.studies / name) for name in account.get("files", {})},
    }
    for what, value in wanted.items():
        if account.get(what) != value:
            raise StaleResultsError(f"{path} rests on another {what} than there is now: {again} again")
    figure = figure_path(storage, name)
    return StudyResults(
        name=name,
        table=read_parquet(path),
        text=text_path(storage, name).read_text(encoding="utf-8"),
        figure=figure if figure.name in account["files"] else None,
        account=account,
    )


def _digest(path: Path) -> str:
    return file_digest(path) if path.exists() else "no file"
