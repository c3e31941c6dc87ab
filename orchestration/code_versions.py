"""Code versions of assets: a digest of the sources that make them.

Dagster shows an asset as out of date when its code version is another than at its last materialization. A version here
is that of the stage's package and of the layers it runs on; what every stage uses (storage, schema, settings) is left
out, because a new setting would otherwise call the whole graph out of date. dbt models keep the digest of their SQL.
"""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import dagster as dg

from assets import keys
from assets.config import PROJECT_ROOT

LENGTH: Final = 12
MODELS: Final = ("models", "assets/training", "assets/stream.py", "assets/idmap.py", "assets/ranking.py")
RANKING: Final = ("assets/ranking.py", "assets/metrics.py", "assets/stream.py")

SOURCES: Final[dict[str, tuple[str, ...]]] = {
    keys.INGESTION: ("assets/ingestion",),
    keys.TRANSFORMS: ("assets/dbt.py", "assets/transforms"),
    keys.QUALITY: ("assets/quality", "dashboards/data_docs.py"),
    keys.TRAINING: MODELS,
    keys.STUDIES: (*MODELS, *RANKING, "assets/evaluation"),
    keys.EVALUATION: ("assets/evaluation", *RANKING),
    keys.SERVING: ("assets/serving", "assets/ranking.py", "models"),
    keys.CHAMPION: ("assets/champion", "assets/evaluation", *MODELS, *RANKING),
    keys.MONITORING: ("assets/monitoring", "dashboards"),
}
"""Stage -> files and folders below the project root; dbt's stages have versions of their own."""


def code_version(stage: str) -> str | None:
    """Digest of a stage's sources; None for a stage that is not in :data:`SOURCES`."""
    return digest(SOURCES[stage]) if stage in SOURCES else None


@cache
def digest(places: tuple[str, ...], root: Path = PROJECT_ROOT) -> str:
    """Digest of the Python files at ``places``, their names included; read once per process.

    Raises:
        FileNotFoundError: naming the place that is not there.
    """
    found = hashlib.sha256()
    for path in sorted(set(_files(places, root))):
        found.update(f"{path.relative_to(root).as_posix()}\0{_file_digest(path)}\n".encode())
    return found.hexdigest()[:LENGTH]


def _files(places: Iterable[str], root: Path) -> Iterable[Path]:
    for place in places:
        path = root / place
        if not path.exists():
            raise FileNotFoundError(f"{path}: named in orchestration/code_versions.py, but there is no such source")
        yield from [path] if path.is_file() else path.rglob("*.py")


@cache
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versioned(spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec with its stage's version, where it has none of its own."""
    version = spec.code_version or code_version(spec.key.path[0])
    return spec.replace_attributes(code_version=version)
