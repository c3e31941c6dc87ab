"""A run as plain functions: every batch once, a bad one refused alone, a kill anywhere changes nothing but time."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from assets.config import PROJECT_ROOT, Settings
from assets.ingestion.landing.claims import claim, claimed
from assets.ingestion.landing.intake import ingest_claimed
from assets.serving.live import process
from assets.serving.live.build import renew
from assets.serving.live.generation import NoIndexError, require_current
from assets.serving.live.ledger import entries
from assets.serving.live.process import apply_landed, embed_due, process_waiting
from assets.serving.store.interface import Table
from assets.storage import Storage
from assets.training.checkpoints import CheckpointError
from tests.assets.ingestion.landing.drops import SECOND, csv, drop, tree
from tests.assets.serving.live import filled

NOW = filled.FIRST_DAY + 365 * 86_400 * SECOND
UNTIMED = (
    Table.ITEM_HISTORIES,
    Table.USER_HISTORIES,
    Table.SEEN,
    Table.ROWS,
    Table.VECTORS,
    Table.NUMBERS,
    Table.FEATURES,
)
"""Tables without an instant of the wall clock in them."""


def served(root: Path) -> tuple[Storage, Settings]:
    """An index of the toy dataset up to the cutoff's eve, nothing landed."""
    storage, tables = filled.toy(root)
    filled.save_net(storage, tables, "ihm_sasrec")
    settings = Settings(dataset="toy", home=root)
    renew(storage, settings, tables, "ihm_sasrec", filled.SEED, NOW)
    return storage, settings


def drop_some(storage: Storage) -> None:
    drop(storage, "one.csv", csv(("u01", "i00", "2024-03-06T01:00"), ("u02", "brand-new", "2024-03-06T02:00")), now=NOW)
    drop(
        storage, "two.csv", csv(("stranger", "i01", "2024-03-07"), ("u01", "i00", "2024-03-06T01:00")), age=50, now=NOW
    )
    drop(
        storage, "items.csv", "item_id,title,genre\nannounced,Soon,drama\ni00,Other title,\n", "items", age=40, now=NOW
    )


def run(storage: Storage, settings: Settings, now: int = NOW):
    claim(storage, settings.freshness, now, 60.0)
    return process_waiting(storage, settings, lambda: now)


def state(storage: Storage) -> dict[str, str]:
    """Digests of what the store holds, instants of the wall clock left out, and the names of what landed."""
    with require_current(storage).open_store() as store, store.read() as reader:
        found = {table.value: _digest(reader.scan(table)) for table in UNTIMED}
        kept = sorted((entry.source, entry.applied, entry.duplicates, entry.seq is None) for entry in entries(reader))
    landed = sorted(Path(name).parent for name in tree(storage.live / "landed"))  # items are named by the stamp too
    files = sorted(
        name.split("--", 1)[-1] for name in tree(storage.landing) if ".partial-" not in name and name != "claim.stamp"
    )
    return found | {"ledger": str(kept), "landed": str(landed), "files": str(files)}


def _digest(pairs) -> str:
    return hashlib.sha256(repr([(key, bytes(value)) for key, value in pairs]).encode()).hexdigest()


def test_what_was_dropped_is_searchable_and_moved_away(tmp_path: Path) -> None:
    storage, settings = served(tmp_path)
    drop_some(storage)
    done = run(storage, settings)
    assert [entry.kind for entry in done.applied.entries] == ["engagements", "engagements", "items"]
    assert [entry.applied for entry in done.applied.entries] == [2, 1, 2]
    assert done.applied.entries[1].duplicates == 1
    assert done.refreshed.embedded == 4
    assert done.refreshed.seq is not None
    assert [file.name for file in done.applied.finished] == ["one.csv", "two.csv", "items.csv"]
    assert claimed(storage) == {}
    with require_current(storage).open_store() as store, store.read() as reader:
        assert reader.size(Table.AWAITING) == 0
        assert all(entry.indexed_at is not None for entry in entries(reader) if entry.kind != "base")


def test_the_steps_one_by_one_are_the_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    whole, settings = served(tmp_path / "a")
    drop_some(whole)
    run(whole, settings)
    steps, settings = served(tmp_path / "b")
    drop_some(steps)
    claim(steps, settings.freshness, NOW, 60.0)
    partitions = list(claimed(steps))
    ingest_claimed(steps, settings.freshness, partitions, NOW)
    applied = apply_landed(steps, settings, partitions, NOW)
    assert len(applied.entries) == 3
    assert embed_due(steps, settings, lambda: NOW).embedded == 4
    assert state(steps) == state(whole)


def test_a_second_run_finds_nothing_to_do(tmp_path: Path) -> None:
    storage, settings = served(tmp_path)
    drop_some(storage)
    run(storage, settings)
    before = state(storage)
    again = process_waiting(storage, settings, lambda: NOW + SECOND, ["2024-03-06", "2024-03-07"])
    assert (again.applied.entries, again.refreshed.embedded, again.refreshed.seq) == ([], 0, None)
    assert state(storage) == before


def test_the_same_file_again_is_moved_away_unread(tmp_path: Path) -> None:
    storage, settings = served(tmp_path)
    drop_some(storage)
    run(storage, settings)
    drop(
        storage, "copy.csv", (storage.landing / "done" / "2024-03-06").glob("*one.csv").__next__().read_bytes(), now=NOW
    )
    again = run(storage, settings, NOW + SECOND)
    assert again.applied.entries == []
    assert [file.name for file in again.applied.finished] == ["copy.csv"]


def test_without_an_index_files_stay(tmp_path: Path) -> None:
    storage, _ = filled.toy(tmp_path)
    drop_some(storage)
    with pytest.raises(NoIndexError, match="thaw run"):
        run(storage, Settings(dataset="toy", home=tmp_path))
    assert sum(map(len, claimed(storage).values())) == 3


def failing_on(monkeypatch: pytest.MonkeyPatch, *names: str, error: type = ArithmeticError) -> None:
    original = process.apply_batches

    def fail(opened, batches, *rest):
        if found := [batch.source for batch in batches if batch.source in names]:
            raise error(f"cannot apply {found[0]}")
        return original(opened, batches, *rest)

    monkeypatch.setattr(process, "apply_batches", fail)


def test_a_batch_that_cannot_be_applied_stands_before_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings = served(tmp_path)
    drop_some(storage)
    failing_on(monkeypatch, "one.csv")
    done = run(storage, settings)
    assert sorted(entry.source for entry in done.applied.entries) == ["items.csv", "two.csv"]
    assert list(done.applied.refused) == ["one.csv"]
    assert claimed(storage) == {}
    reasons = [path.read_text() for path in (storage.landing / "quarantine").glob("*.reason.txt")]
    assert reasons == ["one.csv: applying it failed with ArithmeticError: cannot apply one.csv\n"] * 2


def test_where_none_can_be_applied_the_fault_is_not_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, settings = served(tmp_path)
    drop_some(storage)
    failing_on(monkeypatch, "one.csv", "two.csv", "items.csv")
    with pytest.raises(ArithmeticError):
        run(storage, settings)
    assert sum(map(len, claimed(storage).values())) == 3
    monkeypatch.undo()
    assert len(run(storage, settings).applied.entries) == 3


@pytest.mark.parametrize("error", [MemoryError, OSError, CheckpointError])
def test_what_the_machine_lacks_is_nobodys_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type) -> None:
    storage, settings = served(tmp_path)
    drop_some(storage)
    failing_on(monkeypatch, "one.csv", error=error)
    with pytest.raises(error):
        run(storage, settings)
    assert sum(map(len, claimed(storage).values())) == 3


KILLED = """
import os, shutil, sys
from contextlib import contextmanager
from pathlib import Path
from assets.serving.store.lmdb_store import LmdbStore
from assets.config import FreshnessConfig, Settings
from assets.ingestion.landing.claims import claim
from tests.assets.serving.live.test_process import NOW, drop_some, run, served, state

def child(action, *rest):
    process = os.fork()
    if process == 0:
        try:
            action(*rest)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

def dying(step):
    left = [step]
    def die_at_last():
        if left[0] == 0:
            os._exit(9)
        left[0] -= 1
    def moves(original):
        def move(self, target):
            die_at_last()
            return original(self, target)
        return move
    Path.rename, Path.replace = moves(Path.rename), moves(Path.replace)
    original = LmdbStore.write
    @contextmanager
    def write(self):
        with original(self) as writer:
            yield writer
            die_at_last()  # everything written, nothing committed
        die_at_last()  # committed
    LmdbStore.write = write

def start(source, root):
    shutil.copytree(source, root)
    from assets.storage import Storage
    return Storage(root / "data", "toy"), Settings(dataset="toy", home=root)

def killed(storage, settings, step):
    dying(step)
    run(storage, settings)

def prepare(root):
    storage, _ = served(root)
    drop_some(storage)
    (storage.landing / "engagements" / "two.csv").unlink()
    claim(storage, FreshnessConfig(), NOW, 60.0)  # kills while files are claimed are tested where that is

def compare(storage, settings, expected):
    run(storage, settings)
    found = state(storage)
    wrong = [name for name in expected if found[name] != expected[name]]
    assert not wrong, (wrong, {name: (found[name], expected[name]) for name in wrong})

def calm(root, target):
    storage, settings = start(root, target)
    run(storage, settings)
    import json
    (target / "state.json").write_text(json.dumps(state(storage)))

root = Path(sys.argv[1])
assert child(prepare, root / "start") == 0
assert child(calm, root / "start", root / "calm") == 0
import json
expected = json.loads((root / "calm" / "state.json").read_text())
step = 0
while True:
    storage, settings = start(root / "start", root / str(step))
    code = child(killed, storage, settings, step)
    assert code in (0, 9), code
    assert child(compare, storage, settings, expected) == 0, step
    if code == 0:
        break
    step += 1

# Two runs at once, then a look at what they left.
storage, settings = start(root / "start", root / "twice")
both = []
for _ in range(2):
    process = os.fork()
    if process == 0:
        try:
            run(storage, settings)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    both.append(process)
assert [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in both] == [0, 0]
assert child(compare, storage, settings, expected) == 0
print(step)
"""


def test_a_kill_between_any_two_renames_or_commits_or_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """The process dies before every rename, before every commit and after it; the next run ends in the same state.

    So do two runs that work on the same files at the same time.
    """
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.splitlines()[-1]) >= 10
