"""Objects in a folder (``file://``)."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from assets.objects import store
from assets.objects.stages import Found
from assets.objects.store import Blob, ObjectsError, ObjectStore
from tests.assets.objects.contract import *  # noqa: F403 - the same for every kind of objects
from tests.assets.objects.contract import NEWER, TABLES, Machine


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/objects"


def test_a_killed_copy_looks_like_no_content(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write(TABLES)
    here.push()
    blobs = [path for path in Path(here.store._root, "blobs").rglob("*") if path.is_file()]
    whole = {path.name: path.stat().st_size for path in blobs}
    os.truncate(next(path for path in blobs if path.stat().st_size == 1000), 10)
    here.push()
    assert {path.name: path.stat().st_size for path in blobs} == whole


def _killed_pull(machine: Machine, at: int) -> bool:
    """Pull in a process that is killed at its step ``at``, before or after a rename or a removal; whether it was."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    try:
        steps = iter(range(1 << 30))

        def step() -> None:
            if next(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def watched(real: Callable[..., Any]) -> Callable[..., Any]:
            def run(*given: Any, **named: Any) -> Any:
                step()
                result = real(*given, **named)
                step()
                return result

            return run

        os.replace, os.unlink = watched(os.replace), watched(os.unlink)
        machine.pull()
    finally:
        os._exit(0)


@pytest.mark.parametrize("former", [{}, TABLES | {"tables/old.parquet": b"old"}], ids=["first", "update"])
def test_a_pull_that_is_killed_anywhere_goes_on(tmp_path: Path, url: str, former: dict[str, bytes]) -> None:
    torn = 0
    for at in range(200):
        here, there = Machine(tmp_path / f"here-{at}", f"{url}/{at}"), Machine(tmp_path / f"there-{at}", f"{url}/{at}")
        if former:
            here.write(former)
            here.push()
            there.pull()
            (here.storage.tables / "old.parquet").unlink()
        here.write(NEWER)
        here.push("r2")
        if not _killed_pull(there, at):
            break
        left = {name: content for name, content in there.files().items() if ".partial-" not in name}
        if left not in (former, NEWER):
            torn += 1
            with pytest.raises(ObjectsError, match="half fetched here"):
                there.push("r3")
        assert there.pull() in (Found.FETCH, Found.SAME)
        assert there.files() == NEWER
        assert there.compare() is Found.SAME
    assert at > 20
    assert torn >= 4, "before and after each rename but the last"


def test_troubles_are_tried_again_then_named(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    store, source = ObjectStore(url, "toy", attempts=3, pause=pauses.append), tmp_path / "file"
    source.write_bytes(b"x")
    calls = iter([OSError("slow down"), OSError("slow down"), None, OSError("a"), OSError("b"), OSError("the last")])

    def put(*_: object) -> None:
        if (error := next(calls)) is not None:
            raise error

    monkeypatch.setattr(store, "_put_bytes", put)
    store._tried("write", put)
    assert pauses == [0.5, 1.0]
    with pytest.raises(ObjectsError, match="cannot write in 3 attempts: the last; once it answers"):
        store._tried("write", put)


def test_refusals_are_not_tried_again(url: str) -> None:
    store = ObjectStore(url, "toy", pause=None)  # type: ignore[arg-type] - a pause would fail

    def refuse() -> None:
        raise PermissionError("403")

    with pytest.raises(ObjectsError, match="cannot write: 403"):
        store._tried("write", refuse)


def test_a_file_that_changes_while_it_is_sent_is_an_error(here: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write(TABLES)
    send = here.store.send

    def change(source: Path, blob: Blob) -> bool:
        source.write_bytes(b"other, and longer")
        return send(source, blob)

    monkeypatch.setattr(here.store, "send", change)
    with pytest.raises(ObjectsError, match="changed while it was sent"):
        here.push()
    assert here.store.manifest("tables") is None
    assert not [path for path in Path(here.store._root, "blobs").rglob("*") if path.is_file()]


def test_an_address_that_nothing_reads_says_what_to_install() -> None:
    with pytest.raises(ObjectsError, match=r"nosuch://bucket/x cannot be used: .*pip install \.\[objects\]"):
        ObjectStore("nosuch://bucket/x", "toy")


class OnlyRenames(MemoryFileSystem):
    """As fsspec's SFTP, FTP and SMB."""

    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cp_file = AbstractFileSystem.cp_file

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        self.store[self._strip_protocol(path2)] = self.store.pop(self._strip_protocol(path1))


def test_a_large_file_goes_where_files_can_only_be_renamed(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 0)
    for machine in (here, there):
        machine.store._fs, machine.store._root, machine.store._is_folder = OnlyRenames(), "/objects", False
    here.write(TABLES)
    here.push()
    there.pull()
    assert there.files() == TABLES
    assert not [name for name in OnlyRenames.store if "partial" in name]
