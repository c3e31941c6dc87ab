"""What shapes results from outside the sources and settings: installed libraries, servers, and an accelerator.

All of it is asked of the file system and the environment, so that ``thaw run`` with nothing to do stays quick.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

RECORDS: Final = (".dist-info", ".egg-info")
"""What folders of installed distributions end in: ``numpy-2.1.0.dist-info``."""

OWN: Final = ("thaw-", "thaw.")
"""What this project's own begins with; its sources are digested themselves."""

DEVICES: Final = Path("/dev")
GPUS: Final = ("nvidia[0-9]*", "kfd", "dxg")
"""Nodes of accelerators that torch calls CUDA: NVIDIA's, AMD's, and those of a Linux within Windows."""

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


@cache
def libraries(path: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Name and version of every installed distribution, sorted: any of them may give other numbers.

    Their folders are named so. Reading their metadata instead takes a quarter of a second.

    Args:
        path: folders to look in; ``None`` for those that Python imports from.
    """
    folders = {Path(folder) for folder in (sys.path if path is None else path) if folder}
    names = {entry.name for folder in folders if folder.is_dir() for entry in os.scandir(folder)}
    return tuple(sorted(name for name in names if name.endswith(RECORDS) and not name.startswith(OWN)))


def address_of(text: str) -> str:
    """A server's address without what is secret: no user, no password, and of the query the database alone."""
    if "//" not in text:  # a host or a file
        return text.partition("?")[0].rpartition("@")[2]
    try:
        parts = urlsplit(text)
        database = parse_qs(parts.query).get("db", [""])[0]
    except ValueError:  # what it names cannot be reached
        return "unreadable"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?{database}"


def addresses(names: Iterable[str], environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The addresses that variables of the environment hold, as :func:`address_of` gives them; empty where unset."""
    held = os.environ if environment is None else environment
    return {name: address_of(held[name]) if held.get(name) else "" for name in names}


def accelerator(devices: Path = DEVICES, environment: Mapping[str, str] | None = None) -> str:
    """What ``training.device: auto`` probably takes; to know it takes an import of torch, of seconds."""
    visible = (os.environ if environment is None else environment).get(VISIBLE)
    if visible is not None and visible.strip() in ("", "-1"):
        return "cpu"
    return "cuda" if any(True for pattern in GPUS for _ in devices.glob(pattern)) else "cpu"
