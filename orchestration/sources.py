"""Digest of every source that a module may run: itself, what it imports, what that imports, and the files beside them.

Imports are read from the source, those inside functions too, so nothing has to be listed and nothing can be forgotten.
It says "changed" more often than :mod:`orchestration.code_versions`, whose versions are for people: the settings'
own module counts here for every stage.
"""

import ast
import hashlib
import platform
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from assets.config import PROJECT_ROOT
from orchestration.surroundings import libraries

LENGTH: Final = 16
PACKAGES: Final = ("assets", "models", "dashboards", "orchestration")


def source_digest(modules: Iterable[str], places: Iterable[str] = (), root: Path = PROJECT_ROOT) -> str:
    """Digest of all that ``modules`` may run, of the files at ``places``, and of the versions of all that is installed.

    Args:
        modules: dotted names.
        places: files and folders, relative to ``root``; for sources that are no Python.

    Raises:
        FileNotFoundError: naming a module or place that is not there.
    """
    paths = {path for name in modules for path in reached(name, root)}
    paths |= {path for place in places for path in _below(root / place)}
    found = hashlib.sha256(_environment().encode())
    for path in sorted(paths):
        found.update(f"{path.relative_to(root).as_posix()}\0{_file_digest(path)}\n".encode())
    return found.hexdigest()[:LENGTH]


@cache
def reached(module: str, root: Path = PROJECT_ROOT) -> frozenset[Path]:
    """Files of a module, of whatever it imports from this project, and of those that are read at run time beside them.

    Raises:
        FileNotFoundError: when there is no such module.
    """
    first = _path(module, root)
    if first is None:
        raise FileNotFoundError(f"{root}: no source of the module {module}")
    found, waiting = set[Path](), [first]
    while waiting:
        if (path := waiting.pop()) not in found:
            found.add(path)
            waiting += _imported(path, root)
    beside = {file for folder in {path.parent for path in found} for file in _not_python(folder)}
    return frozenset(found | beside)


@cache
def _imported(path: Path, root: Path) -> tuple[Path, ...]:
    """Files of this project that a file imports; the packages that hold them run too."""
    found: set[Path] = set()
    for name in _names(path, root):
        parts = name.split(".")
        if parts[0] in PACKAGES:
            held = (_path(".".join(parts[:count]), root) for count in range(1, len(parts) + 1))
            found.update(file for file in held if file is not None)
    return tuple(sorted(found))


def _names(path: Path, root: Path) -> Iterator[str]:
    """Dotted names that a file imports: ``from a import b`` gives ``a.b``, whether that is a module or not."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def _path(module: str, root: Path) -> Path | None:
    """File of a module or package; None where the name is none, such as that of a function."""
    place = root.joinpath(*module.split("."))
    for path in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _not_python(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix not in {".py", ".pyc"})


def _below(place: Path) -> list[Path]:
    if not place.exists():
        raise FileNotFoundError(f"{place}: no such source")
    return [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]


@cache
def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _environment() -> str:
    return "\n".join([platform.python_version(), *libraries()])
