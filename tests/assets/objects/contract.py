"""What holds of a stage's files, wherever their objects lie; a module that takes these has a fixture ``url``."""

from pathlib import Path
from typing import Any

import pytest

from assets.objects import stages, store
from assets.objects.stages import FOLDER, Found, Stage, compare, pull, push
from assets.objects.store import ObjectsError, ObjectStore
from assets.storage import Storage

TABLES = {"tables/a.parquet": b"a" * 1000, "tables/b.parquet": b"b", "tables/manifest.json": b"{}"}

NEWER = {"tables/a.parquet": b"new", "tables/b.parquet": b"newer", "tables/manifest.json": b"{1}"}


class Machine:
    """A data root and the objects that it shares."""

    def __init__(self, root: Path, url: str) -> None:
        self.storage = Storage(root / "data", "toy")
        self.store = ObjectStore(url, "toy", attempts=2, pause=lambda _: None)
        self.stage = Stage("tables", (self.storage.tables,))

    def write(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            path = self.storage.base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def files(self) -> dict[str, bytes]:
        held = sorted(path for path in self.storage.tables.rglob("*") if path.is_file())
        return {path.relative_to(self.storage.base).as_posix(): path.read_bytes() for path in held}

    def push(self, run_id: str = "r1") -> None:
        push(self.store, self.storage, self.stage, run_id)

    def pull(self, *, replace: bool = False) -> Found:
        return pull(self.store, self.storage, self.stage, replace=replace)[0]

    def compare(self) -> Found:
        return compare(self.store, self.storage, self.stage)[0]


@pytest.fixture
def here(tmp_path: Path, url: str) -> Machine:
    return Machine(tmp_path / "here", url)


@pytest.fixture
def there(tmp_path: Path, url: str) -> Machine:
    return Machine(tmp_path / "there", url)


def test_another_machine_gets_the_same_bytes_and_nothing_twice(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write(TABLES)
    assert here.compare() is Found.SEND
    here.push()
    assert there.pull() is Found.FETCH
    assert there.files() == TABLES
    monkeypatch.setattr(there.store, "fetch", None)  # whoever asks for a content again fails
    monkeypatch.setattr(here.store, "_put_file", None)
    assert (there.pull(), there.compare(), here.compare()) == (Found.SAME,) * 3
    here.push("r2")
    assert there.store.manifest("tables").run_id == "r2"  # type: ignore[union-attr]


def test_a_newer_stage_replaces_an_older_one_wholly(here: Machine, there: Machine) -> None:
    here.write(TABLES)
    here.push()
    there.pull()
    (here.storage.tables / "b.parquet").unlink()
    newer = {"tables/a.parquet": b"new", "tables/c.parquet": b"c", "tables/manifest.json": b"{1}"}
    here.write(newer)
    here.push()
    assert there.pull() is Found.FETCH
    assert there.files() == newer


def test_what_changed_here_alone_stays_and_is_to_be_sent(here: Machine, there: Machine) -> None:
    here.write(TABLES)
    here.push()
    there.pull()
    there.write({"tables/a.parquet": b"mine"})
    assert there.pull() is Found.SEND
    assert there.files()["tables/a.parquet"] == b"mine"


def test_what_changed_on_both_sides_is_an_error_until_somebody_decides(here: Machine, there: Machine) -> None:
    here.write(TABLES)
    here.push()
    there.pull()
    there.write({"tables/a.parquet": b"mine"})
    here.write({"tables/a.parquet": b"theirs"})
    here.push("r2")
    with pytest.raises(ObjectsError, match=r"made by run r2: take that one with `thaw pull --replace tables`"):
        there.pull()
    assert there.files()["tables/a.parquet"] == b"mine"
    assert there.pull(replace=True) is Found.FETCH
    assert there.files()["tables/a.parquet"] == b"theirs"


def test_the_same_bytes_made_twice_are_no_conflict(here: Machine, there: Machine) -> None:
    here.write(TABLES)
    there.write(TABLES)
    here.push()
    assert there.pull() is Found.SAME


def test_a_sender_that_stops_before_the_manifest_leaves_the_former_stage(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write(TABLES)
    here.push()
    here.write({"tables/a.parquet": b"new", "tables/manifest.json": b"{1}"})
    with monkeypatch.context() as broken:
        broken.setattr(here.store, "publish", _stops)
        with pytest.raises(InterruptedError):
            here.push()
    there.pull()
    assert there.files() == TABLES
    here.push()  # goes on
    there.pull()
    assert there.files() == TABLES | {"tables/a.parquet": b"new", "tables/manifest.json": b"{1}"}


def test_a_reader_that_stops_has_the_former_stage_and_goes_on(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write(TABLES)
    here.push()
    there.pull()
    here.write({"tables/a.parquet": b"new", "tables/b.parquet": b"newer", "tables/manifest.json": b"{1}"})
    here.push()
    fetched: list[str] = []
    fetch = there.store.fetch
    with monkeypatch.context() as broken:
        broken.setattr(
            there.store,
            "fetch",
            lambda *given: fetched.append("x") or (fetch(*given) if len(fetched) < 3 else _stops()),
        )
        with pytest.raises(InterruptedError):
            there.pull()
    assert there.files() == TABLES
    again: list[str] = []
    monkeypatch.setattr(there.store, "fetch", lambda *given: again.append("x") or fetch(*given))
    there.pull()
    assert len(again) == 1  # the two that came are not fetched again
    assert there.files() == here.files()
    assert not (there.storage.base / FOLDER / stages.INCOMING).exists()


def _tear(here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """``there`` has the former stage and stops when one file of the newer one is in place."""
    here.write(TABLES)
    here.push()
    there.pull()
    here.write(NEWER)
    here.push("r2")
    placed = stages.atomic_path
    with monkeypatch.context() as broken:
        broken.setattr(stages, "atomic_path", lambda path: _stops() if path.name == "b.parquet" else placed(path))
        with pytest.raises(InterruptedError):
            there.pull()
    assert there.files() == TABLES | {"tables/a.parquet": NEWER["tables/a.parquet"]}


def test_half_a_stage_is_not_sent_and_the_next_pull_goes_on(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tear(here, there, monkeypatch)
    assert there.compare() is Found.FETCH
    with pytest.raises(ObjectsError, match="half fetched here"):
        there.push("r3")
    assert there.pull() is Found.FETCH
    assert there.files() == NEWER
    assert (there.compare(), there.pull()) == (Found.SAME, Found.SAME)
    there.write({"tables/b.parquet": TABLES["tables/b.parquet"]})  # one that is the former again is no half any more
    assert there.compare() is Found.SEND
    there.push("r3")
    assert here.pull() is Found.FETCH


def test_half_a_stage_is_fetched_whole_though_a_third_was_sent_meanwhile(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tear(here, there, monkeypatch)
    third = {**NEWER, "tables/b.parquet": b"third", "tables/manifest.json": b"{3}"}
    here.write(third)
    here.push("r3")
    assert there.pull() is Found.FETCH
    assert there.files() == third


def test_what_somebody_made_of_half_a_stage_is_theirs(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tear(here, there, monkeypatch)
    mine = dict.fromkeys(TABLES, b"mine")
    there.write(mine)
    with pytest.raises(ObjectsError, match="made by run r2: take that one"):
        there.pull()
    there.push("r3")
    assert here.pull() is Found.FETCH
    assert here.files() == mine


def test_replacing_that_is_interrupted_goes_on(here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here.write(TABLES)
    here.push()
    there.pull()
    there.write(dict.fromkeys(TABLES, b"mine"))
    with monkeypatch.context() as broken:
        broken.setattr(stages, "_note", lambda *_: _stops())
        with pytest.raises(InterruptedError):
            there.pull(replace=True)
    (there.storage.tables / "b.parquet").write_bytes(b"mine")  # as if it had stopped before that file
    assert there.compare() is Found.FETCH
    with pytest.raises(ObjectsError, match="half fetched here"):
        there.push()
    there.pull()
    assert there.files() == TABLES


@pytest.mark.parametrize("placed", [0, 1])
def test_the_same_made_again_after_an_interruption_is_whole(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch, placed: int
) -> None:
    mine = dict.fromkeys(TABLES, b"mine")
    here.write(TABLES)
    here.push()
    there.write(mine)
    put, done = stages.atomic_path, []

    def breaks(path: Path) -> Any:
        if len(done) == placed:
            _stops()
        done.append(path)
        return put(path)

    with monkeypatch.context() as broken:
        broken.setattr(stages, "atomic_path", breaks)
        with pytest.raises(InterruptedError):
            there.pull(replace=True)
    there.write(mine)
    with pytest.raises(ObjectsError, match="one thing here and another"):
        there.pull()
    there.push("r2")
    assert here.pull() is Found.FETCH
    assert here.files() == mine


@pytest.mark.parametrize("in_memory", [1 << 20, 0], ids=["small", "large"])
def test_a_file_that_is_rewritten_before_it_is_sent_leaves_nothing_under_its_former_digest(
    here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", in_memory)
    here.write(TABLES)
    digest = stages.file_digest

    def write_after(path: Path) -> str:
        found = digest(path)
        path.write_bytes(b"z" * path.stat().st_size)
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(stages, "file_digest", write_after)
        with pytest.raises(ObjectsError, match="changed while it was sent: push it again when the step"):
            here.push()
    assert here.store._fs.find(f"{here.store._root}/blobs") == []
    here.write(TABLES)  # the step makes the same again
    here.push()
    there.pull()
    assert there.files() == TABLES


def test_a_content_that_is_not_what_its_name_says_is_refused(here: Machine, there: Machine) -> None:
    here.write(TABLES)
    here.push()
    blob = here.store.manifest("tables").files["tables/a.parquet"]  # type: ignore[union-attr]
    there.store._fs.pipe_file(there.store._blob(blob.sha256), b"c" * blob.bytes)
    with pytest.raises(ObjectsError, match="remove that object and push the stage again"):
        there.pull()
    assert there.files() == {}
    there.store.discard(blob)
    with pytest.raises(ObjectsError, match="is gone: push the stage again"):
        there.pull()
    here.push()
    there.pull()
    assert there.files() == TABLES


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "live/current.json", "tables/../raw/x"])
def test_a_path_out_of_the_stage_is_refused(here: Machine, there: Machine, name: str) -> None:
    here.write(TABLES)
    here.push()
    path = here.store._stage("tables")
    text = here.store._fs.cat_file(path).decode().replace('"tables/b.parquet"', f'"{name}"')
    here.store._fs.pipe_file(path, text.encode())
    with pytest.raises(ObjectsError, match="refused"):
        there.pull()
    assert there.files() == {}


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no manifest"), ('{"format": 2}', "has format 2"), ("[]", "is no manifest")]
)
def test_a_manifest_of_something_else_is_named(here: Machine, text: str, message: str) -> None:
    here.write(TABLES)
    here.push()
    here.store._fs.pipe_file(here.store._stage("tables"), text.encode())
    with pytest.raises(ObjectsError, match=message):
        here.pull()


def test_nothing_is_nowhere(here: Machine) -> None:
    assert here.pull() is Found.NOWHERE
    assert push(here.store, here.storage, here.stage, "r") is None
    assert here.store.stages() == []


def test_stages_are_listed_and_a_name_that_is_a_path_is_refused(here: Machine) -> None:
    here.write(TABLES)
    here.push()
    assert here.store.stages() == ["tables"]
    with pytest.raises(ObjectsError, match="no name of a stage"):
        here.store.manifest("../toy/stages/tables")


def _stops(*_: object) -> None:
    raise InterruptedError
