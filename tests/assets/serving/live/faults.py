"""Killing a process at every point at which something durable happens, and pausing it there.

A child process carries out a scenario and counts the points that it passes: before every rename, removal, sync and
creation of a file, before and in the middle of every file that is written, before and in the middle of every change
within a transaction of the store, before every commit, in the middle of it (half of the pages written, then all but the
page that makes them count) and after it. "After" each of the others is "before" the next one: nothing durable lies
between. At the point it is told, the child kills itself with SIGKILL, or stops until it is told to go on.
"""

import builtins
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq

from assets.serving.store.interface import Writer
from assets.serving.store.lmdb_store import LmdbStore, LmdbWriter
from tests.assets.serving.live.children import Child
from tests.assets.serving.live.logical import Logical
from tests.assets.serving.live.scenarios import SCENARIOS, finish

PAGE = 4096
META_PAGES = 2
"""LMDB's pages that say which others count."""

RENAMES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync")
"""Of ``os``; what :class:`pathlib.Path` and :mod:`shutil` do goes through them."""


@dataclass
class Points:
    """The points passed so far, by name; at number ``stop_at`` something is done to this process.

    Attributes:
        signal: SIGKILL ends it, SIGSTOP lets it wait for SIGCONT.
    """

    stop_at: int | None = None
    signal: int = signal.SIGKILL
    passed: list[str] = field(default_factory=list)

    def passing(self, name: str) -> bool:
        """Whether this is the point."""
        self.passed.append(name)
        return len(self.passed) - 1 == self.stop_at

    def at(self, name: str) -> None:
        """Pass a point."""
        if self.passing(name):
            self.stop()

    def stop(self) -> None:
        os.kill(os.getpid(), self.signal)


@contextmanager
def counting(points: Points, root: Path) -> Iterator[None]:
    """Let everything durable that happens below ``root`` pass ``points``."""
    watch = _Watch(points, str(root))
    with ExitStack() as stack:
        for name in RENAMES:
            stack.enter_context(patch.object(os, name, watch.before(name, getattr(os, name))))
        for module, name in ((pq, "write_table"), (shutil, "copyfile")):
            stack.enter_context(patch.object(module, name, watch.written(name, getattr(module, name))))
        for name in ("write_text", "write_bytes"):
            stack.enter_context(patch.object(Path, name, watch.written_path(name, getattr(Path, name))))
        for module in (io, builtins):
            stack.enter_context(patch.object(module, "open", watch.opened(module.open)))
        for name in ("put_many", "delete_many"):
            stack.enter_context(patch.object(LmdbWriter, name, watch.changed(name, getattr(LmdbWriter, name))))
        stack.enter_context(patch.object(LmdbStore, "write", watch.committed(LmdbStore.write)))
        yield


@dataclass
class _Watch:
    points: Points
    root: str
    quiet: bool = False

    def _concerns(self, target: Any) -> bool:
        """Whether a path is below the root; what is given by file descriptor or relative to one always is."""
        if self.quiet:
            return False
        return not isinstance(target, str | os.PathLike) or not str(target).startswith("/") or self._is_below(target)

    def _is_below(self, target: Any) -> bool:
        return str(target).startswith(self.root)

    def _label(self, name: str, *targets: Any) -> str:
        return " ".join([name, *(_place(target, self.root) for target in targets)])

    def before(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            if self._concerns(target):
                self.points.at(self._label(name, target))
            return original(target, *args, **kwargs)

        return call

    def written(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """For functions (source, target, ...) that write a whole file."""

        @wraps(original)
        def call(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._concerns(target):
                return original(source, target, *args, **kwargs)
            return self._write(name, target, lambda: original(source, target, *args, **kwargs))

        return call

    def written_path(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(path: Path, *args: Any, **kwargs: Any) -> Any:
            if not self._concerns(path):
                return original(path, *args, **kwargs)
            return self._write(name, path, lambda: original(path, *args, **kwargs))

        return call

    def _write(self, name: str, target: Any, write: Callable[[], Any]) -> Any:
        self.points.at(self._label(name, target))
        half = self.points.passing(self._label(f"half of {name}", target))
        self.quiet = True
        try:
            result = write()
        finally:
            self.quiet = False
        if half:
            os.truncate(target, Path(target).stat().st_size // 2)
            self.points.stop()
            write()  # it was only stopped: the file is to be whole after all
        return result

    def opened(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """For ``open``: files that are made or emptied by it."""

        @wraps(original)
        def call(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if set(mode) & set("wax") and isinstance(file, str | os.PathLike) and self._concerns(file):
                self.points.at(self._label("open", file))
            return original(file, mode, *args, **kwargs)

        return call

    def changed(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        """For changes within a transaction."""

        @wraps(original)
        def call(writer: LmdbWriter, table: Any, values: Iterable[Any]) -> None:
            given = list(values)
            self.points.at(f"{name} {table}")
            if self.points.passing(f"half of {name} {table}"):
                original(writer, table, given[: len(given) // 2])
                self.points.stop()
            original(writer, table, given)

        return call

    def committed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        @wraps(original)
        def call(store: LmdbStore) -> Iterator[Writer]:
            file = store.path / "data.mdb"
            before = b""
            with original(store) as writer:
                yield writer
                self.points.at("commit")
                torn = [self.points.passing(f"{part} of commit") for part in ("half", "all but the end")]
                if any(torn):
                    before = file.read_bytes()
            if any(torn):
                if self.points.signal == signal.SIGKILL:
                    _tear(file, before, 0.5 if torn[0] else 1.0)
                self.points.stop()
            self.points.at("committed")

        return call


def _tear(file: Path, before: bytes, share: float) -> None:
    """Let a commit be written to a part: ``share`` of the pages that it changed, and not the one that says so."""
    after = file.read_bytes()
    pages = range(META_PAGES, -(-len(after) // PAGE))
    changed = [page for page in pages if after[page * PAGE :][:PAGE] != before[page * PAGE :][:PAGE]]
    undone = [*range(META_PAGES), *changed[int(len(changed) * share) :]]
    descriptor = os.open(file, os.O_WRONLY)
    for page in undone:
        old = before[page * PAGE : (page + 1) * PAGE]
        os.pwrite(descriptor, old.ljust(PAGE, b"\0"), page * PAGE)
    os.close(descriptor)


def _place(target: Any, root: str) -> str:
    """A path as a name that is the same in every run: without stamps, process numbers and random parts."""
    text = str(target).removeprefix(root).lstrip("/") if isinstance(target, str | os.PathLike) else "descriptor"
    parts = text.split(".partial-")
    return parts[0] + (".partial" if len(parts) > 1 else "")


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        signal: that killed it; 0: none.
        points: that it passed, where it came to the end.
        state: that it left, likewise; ``None`` where nobody looked.
    """

    signal: int
    points: list[str]
    state: Logical | None


def _child(name: str, home: Path, attempt: int, points: Points, look: bool) -> tuple[list[str], Logical | None]:
    with counting(points, home):
        SCENARIOS[name](home, attempt)
    return points.passed, finish(name, home, attempt) if look else None


def start(name: str, home: Path, attempt: int = 0, points: Points | None = None, look: bool = True) -> Child:
    """Start a child; see :func:`result`.

    Args:
        name: of the scenario.
        home: of the dataset.
        attempt: how often a scenario was begun before: its clock is later then.
        look: whether to finish the scenario and tell the state; not while others are at work.
    """
    return Child(f"{name}-{attempt}", home, _child, name, home, attempt, points or Points(), look)


def result(child: Child) -> Ended:
    """Wait for a child.

    Raises:
        AssertionError: when it ended with an error or not at all.
    """
    if ended_by := child.end():
        return Ended(ended_by, [], None)
    points, state = child.returned()
    return Ended(0, points, state)


def carry_out(name: str, home: Path, attempt: int = 0, points: Points | None = None, look: bool = True) -> Ended:
    """Start a child and wait for its end."""
    return result(start(name, home, attempt, points, look))


def spread(points: Sequence[int], number: int) -> list[int]:
    """``number`` of ``points``, evenly spread over them."""
    step = len(points) / max(1, number)
    return [points[int((place + 0.5) * step)] for place in range(min(number, len(points)))]
