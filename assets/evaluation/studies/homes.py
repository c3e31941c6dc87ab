"""Where a study is made: in the dataset's own home, or under another split in a home of its own, beside it.

Tables, checkpoints and the leaderboard are those of one split. A study that needs another gets a home under
``data/<dataset>/splits/<kind>/``, with tables of its own over the same raw tables.
"""

import os
from typing import Any

from assets.config import KINDS_WITH, Settings, SplitConfig
from assets.evaluation.studies.registry import Study
from assets.storage import Storage, atomic_path
from assets.transforms.stamp import raw_version

INGESTION_REPORT = "ingestion.json"


def settings_for(study: Study, settings: Settings) -> Settings:
    """The settings that a study is made under: as they are where the configured split is what it needs."""
    split = split_for(study, settings.split)
    if split == settings.split:
        return settings
    home = settings.storage.base / "splits" / split.kind
    return settings.model_copy(update={"split": split, "home": home})


def split_for(study: Study, configured: SplitConfig) -> SplitConfig:
    """The configured split with what the study needs otherwise; of another kind, without what that kind has not.

    Raises:
        ValueError: when the study's fields are not a split.
    """
    kind = study.split.get("kind", configured.kind)
    held: dict[str, Any] = {
        name: value
        for name, value in configured.model_dump().items()
        if kind == configured.kind or (name != "quantile" and kind in KINDS_WITH.get(name, (kind,)))
    }
    return SplitConfig(**{**held, **study.split})


def share_raw(source: Storage, target: Storage) -> bool:
    """Give ``target`` the raw tables of ``source``, unless it has them; return whether it had not.

    Files are linked, not copied: nothing ever writes into one, a new version replaces it.

    Raises:
        FileNotFoundError: when ``source`` has none.
    """
    wanted = raw_version(source)
    try:
        if raw_version(target) == wanted:
            return False
    except FileNotFoundError:
        pass
    files = sorted(source.raw.iterdir(), key=lambda path: path.name == INGESTION_REPORT)  # what names the version: last
    for path in files:
        if path.is_file():
            with atomic_path(target.raw / path.name) as temporary:
                os.link(path, temporary)
    return True
