"""The drop zone: what is taken, what is left, what is refused; nothing is lost and nothing meets another's name."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.config import FreshnessConfig
from assets.ingestion.landing import claims as claims_module
from assets.ingestion.landing.claims import claim, claimed, drop_empty_claims, finish, quarantine, release
from assets.ingestion.landing.marks import DEATHS
from assets.ingestion.landing.partitions import partition_key
from assets.storage import Storage
from tests.assets.ingestion.landing.drops import (
    CONFIG,
    HEADER,
    NOW,
    SECOND,
    csv,
    day,
    drop,
    engagements,
    parquet,
    storage_in,
    tree,
    written,
)


def take(storage, now: int = NOW, budget: float = 60.0, **options):
    return claim(storage, CONFIG, now, budget, **options)


def test_files_go_to_the_partition_of_their_first_row_in_the_order_of_writing(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "b.csv", day(2), age=30)
    drop(storage, "a.csv", day(1), age=40)
    drop(storage, "c.csv", day(2), age=20)
    claims = take(storage)
    assert [file.name for file in claims.files] == ["a.csv", "b.csv", "c.csv"]
    assert list(claimed(storage)) == ["2024-05-01", "2024-05-02"]
    assert claimed(storage) == {
        "2024-05-01": [claims.files[0]],
        "2024-05-02": [claims.files[1], claims.files[2]],
    }
    assert claims.files[1].landed_at == NOW - 30 * SECOND
    assert [file.seen_at for file in claims.files] == [NOW, NOW + 1, NOW + 2]


def test_stamps_go_on_although_the_clock_goes_back(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    stamps = []
    for now in (NOW, NOW, NOW - SECOND, NOW + SECOND):
        drop(storage, "a.csv", day(1))
        drop(storage, "b.csv", day(1), age=50)
        stamps += [file.seen_at for file in take(storage, now).files]
    assert stamps == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4, NOW + 5, NOW + SECOND, NOW + SECOND + 1]


def test_by_hour(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", csv(("u", "i", "2024-05-01T07:30:00Z")))
    claim(storage, FreshnessConfig(partition="hour"), NOW, 60.0)
    assert list(claimed(storage)) == ["2024-05-01-07"]


def test_items_and_files_without_a_usable_row_belong_to_the_time_of_the_look(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", "item_id\nx\n", "items")
    drop(storage, "empty.csv", HEADER)
    take(storage)
    files = claimed(storage)[partition_key(NOW, "day")]
    assert {file.kind for file in files} == {"items", "engagements"}


@pytest.mark.parametrize("name", [".a.csv", "_a.csv", "a.csv.tmp", "a.partial", "a.partial-12-ab.parquet"])
def test_names_of_unfinished_files_are_passed_over(tmp_path: Path, name: str) -> None:
    storage = storage_in(tmp_path)
    path = drop(storage, name, day(1))
    claims = take(storage)
    assert (claims.files, claims.quarantined) == ([], {})
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", HEADER + "u,i,2024-05-"), ("a.csv", ""), ("a.parquet", "PAR1")]
)
def test_a_file_that_ends_in_the_middle_is_left_while_it_is_young(tmp_path: Path, name: str, content: str) -> None:
    storage = storage_in(tmp_path)
    path = drop(storage, name, content, age=1)
    claims = take(storage)
    assert claims.unfinished == [name]
    assert path.exists()
    later = take(storage, NOW + 30 * SECOND)
    assert later.unfinished == []
    assert not path.exists()


def test_a_whole_file_is_taken_at_once(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1), age=0)
    assert len(take(storage).files) == 1


def test_what_cannot_be_read_goes_to_the_quarantine_and_stands_before_nothing(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "bad.parquet", "no parquet", age=90)
    drop(storage, "bad.txt", day(1), age=80)
    drop(storage, "good.csv", day(1), age=70)
    drop(storage, "bad.csv", "user_id,item_id\nu,i\n", age=60)
    claims = take(storage)
    assert [file.name for file in claims.files] == ["good.csv"]
    assert sorted(claims.quarantined) == ["bad.csv", "bad.parquet", "bad.txt"]
    kept = tree(storage.landing / "quarantine")
    assert len(kept) == 6
    for name in ("bad.csv", "bad.parquet", "bad.txt"):
        (reason,) = (storage.landing / "quarantine").glob(f"*--{name}.reason.txt")
        assert claims.quarantined[name] in reason.read_text()
        assert reason.with_name(reason.name.removesuffix(".reason.txt")).exists()


def test_one_name_dropped_again_and_again_never_meets_itself(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    for number in range(4):
        drop(storage, "a.csv", csv((f"u{number}", "i", "2024-05-01")))
        drop(storage, "bad.csv", "no header")
        take(storage, NOW + number * SECOND)
        for file in claimed(storage)["2024-05-01"][:-1]:
            finish(storage, file)
    assert len(tree(storage.landing / "done")) == 3
    assert len(claimed(storage)["2024-05-01"]) == 1
    assert len(tree(storage.landing / "quarantine")) == 8


@pytest.mark.parametrize(
    "name", ["a**b.csv", "a[1].csv", "[.csv", os.fsdecode(b"bad\xff.csv"), "x" * 99 + "." + "é" * 50]
)
def test_a_bad_file_of_any_name_stands_before_nothing(tmp_path: Path, name: str) -> None:
    storage = storage_in(tmp_path)
    drop(storage, name, "no,header\n", age=90)
    drop(storage, "good.csv", day(1), age=80)
    claims = take(storage)
    assert [file.name for file in claims.files] == ["good.csv"]
    assert list(claims.quarantined) == [name.replace("\udcff", "\ufffd")]
    assert claims.failed == {}
    "".join(claims.quarantined.values()).encode()  # it is logged
    assert len(tree(storage.landing / "quarantine")) == 2


@pytest.mark.parametrize("name", ["x" * 250 + ".csv", "é" * 120 + ".csv", "a\nb.csv", "a--engagements--b.csv", "-.csv"])
def test_any_name_that_a_file_system_allows(tmp_path: Path, name: str) -> None:
    storage = storage_in(tmp_path)
    drop(storage, name, day(1))
    claims = take(storage)
    assert (claims.failed, claims.quarantined) == ({}, {})
    (file,) = claimed(storage)["2024-05-01"]
    quarantine(storage, file.path, file.path.name, "for its name")
    assert len(tree(storage.landing / "quarantine")) == 2


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    (storage.landing / "engagements").mkdir(parents=True)
    path = os.fsencode(storage.landing / "engagements") + b"/\xff.csv"
    with open(path, "w") as handle:  # noqa: PTH123 - bytes
        handle.write(day(1))
    os.utime(path, ns=(NOW * 1000 - 10**11,) * 2)
    take(storage)
    (file,) = claimed(storage)["2024-05-01"]
    file.path.name.encode()
    file.name.encode()


def test_time_over_leaves_the_rest_for_the_next_look(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    for number in range(1, 10):
        drop(storage, f"{number}.csv", day(number), age=100 - number)
    ticks = iter(range(100))
    claims = take(storage, budget=4.0, clock=lambda: float(next(ticks)))
    assert [file.name for file in claims.files] == ["1.csv", "2.csv", "3.csv"]
    assert claims.left == 6
    assert take(storage, NOW + SECOND).left == 0
    assert len(claimed(storage)) == 9


def test_folders_and_what_vanishes_are_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_in(tmp_path)
    (storage.landing / "engagements" / "folder.csv").mkdir(parents=True)
    gone = drop(storage, "gone.csv", day(1), age=90)
    drop(storage, "here.csv", day(1))
    original = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (gone.unlink(missing_ok=True), original(self, to))[1])
    claims = take(storage)
    assert [file.name for file in claims.files] == ["here.csv"]
    assert (claims.failed, claims.quarantined) == ({}, {})


def test_a_partition_that_another_run_drops_during_the_look_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_in(tmp_path)
    for date in (1, 2):
        drop(storage, f"{date}.csv", day(date))
    first, second = take(storage).files
    original = Path.iterdir

    def finished_meanwhile(self: Path) -> Iterator[Path]:
        if self.name == first.partition:
            finish(storage, first)
            drop_empty_claims(storage, [first.partition])
        return original(self)

    monkeypatch.setattr(Path, "iterdir", finished_meanwhile)
    assert claimed(storage) == {second.partition: [second]}


def test_what_the_file_system_refuses_stays_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = storage_in(tmp_path)
    kept = drop(storage, "kept.csv", day(1), age=90)
    drop(storage, "taken.csv", day(1))
    original = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.name == "kept.csv":
            raise PermissionError("no")
        return original(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    claims = take(storage)
    assert [file.name for file in claims.files] == ["taken.csv"]
    assert list(claims.failed) == ["kept.csv"]
    assert kept.exists()


@pytest.mark.parametrize("error", [ValueError("strange"), OSError("full"), UnicodeError("no text")])
def test_a_file_that_cannot_even_be_refused_stays_and_stands_before_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    storage = storage_in(tmp_path)
    kept = drop(storage, "bad.csv", "no,header\n", age=90)
    drop(storage, "good.csv", day(1), age=80)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(claims_module, "quarantine", fail)
    claims = take(storage)
    assert [file.name for file in claims.files] == ["good.csv"]
    assert str(error) in claims.failed["bad.csv"]
    assert kept.exists()


def test_a_look_that_finds_no_memory_is_told_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have more at the next look: the file is not refused."""
    storage = storage_in(tmp_path)
    kept = drop(storage, "large.parquet", parquet(engagements([1714709106])), age=90)
    drop(storage, "good.csv", day(1), age=80)
    original = claims_module.first_partition

    def fail(path: Path, *rest: object) -> str | None:
        if path == kept:
            raise MemoryError("none left")
        return original(path, *rest)

    monkeypatch.setattr(claims_module, "first_partition", fail)
    for _ in range(DEATHS + 1):
        claims = take(storage)
        assert claims.failed == {"large.parquet": "MemoryError: none left"}
    assert kept.exists()
    assert len(claimed(storage)["2024-05-01"]) == 1


def test_a_file_that_vanishes_while_it_is_looked_at_is_nobodys_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = storage_in(tmp_path)
    gone = drop(storage, "gone.parquet", parquet(engagements([1714709106])), age=90)
    drop(storage, "good.csv", day(1), age=80)
    original = claims_module.first_partition
    monkeypatch.setattr(
        claims_module, "first_partition", lambda *look: (gone.unlink(missing_ok=True), original(*look))[1]
    )
    claims = take(storage)
    assert [file.name for file in claims.files] == ["good.csv"]
    assert (claims.failed, claims.quarantined) == ({}, {})


def killed_looks(storage: Storage, times: int) -> None:
    """Looks that end their process at a file called ``deadly.parquet``, as the system ends one without memory."""
    original = claims_module.first_partition

    def deadly(path: Path, *rest: object) -> str | None:
        if path.name == "deadly.parquet":
            os._exit(9)
        return original(path, *rest)

    for _ in range(times):
        process = os.fork()
        if process == 0:
            claims_module.first_partition = deadly
            take(storage)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9


def test_a_file_that_ends_every_look_is_refused_in_the_end(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "deadly.parquet", parquet(engagements([1714709106])), age=90)
    drop(storage, "good.csv", day(1), age=80)
    killed_looks(storage, DEATHS)
    claims = take(storage)
    assert [file.name for file in claims.files] == ["good.csv"]
    assert "3 processes ended while they read this file" in claims.quarantined["deadly.parquet"]
    assert tree(storage.landing / "reading") == []


def test_another_file_under_the_name_of_a_deadly_one_starts_anew(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    deadly = drop(storage, "deadly.parquet", parquet(engagements([1714709106])), age=90)
    killed_looks(storage, DEATHS - 1)
    deadly.unlink()
    drop(storage, "deadly.parquet", parquet(engagements([1714709107])), age=80)
    killed_looks(storage, DEATHS - 1)
    assert [file.name for file in take(storage).files] == ["deadly.parquet"]
    assert tree(storage.landing / "reading") == []


def test_marks_of_files_that_were_taken_away_are_removed(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    deadly = drop(storage, "deadly.parquet", parquet(engagements([1714709106])))
    killed_looks(storage, 1)
    mine = storage.landing / "reading" / "1--engagements--a.csv"  # a run is reading it
    mine.touch()
    deadly.unlink()
    take(storage)
    assert tree(storage.landing / "reading") == [mine.name]


def test_foreign_files_among_the_claimed_are_passed_over(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1))
    (file,) = take(storage).files
    (file.path.parent / "notes.txt").write_text("x")
    (file.path.parent.parent / "lost+found").mkdir()
    assert claimed(storage) == {"2024-05-01": [file]}


def test_finishing_twice_is_finishing_once(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1))
    (file,) = take(storage).files
    assert finish(storage, file) == finish(storage, file)
    assert claimed(storage) == {}


def test_released_files_are_claimed_anew(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    drop(storage, "a.csv", day(1))
    drop(storage, "b.csv", day(2))
    take(storage)
    assert release(storage, ["2024-05-01"]) == 1
    assert list(claimed(storage)) == ["2024-05-02"]
    assert len(take(storage, NOW + SECOND).files) == 1
    assert len(claimed(storage)) == 2


def test_ten_thousand_files_in_one_look(tmp_path: Path) -> None:
    storage = storage_in(tmp_path)
    content = day(1).encode()
    folder = storage.landing / "engagements"
    folder.mkdir(parents=True)
    for number in range(10_000):
        (folder / f"{number:05}.csv").write_bytes(content)
    written(folder / "00000.csv", 60)
    started = time.process_time()  # the wall clock would measure the tests beside it
    claims = claim(storage, CONFIG, NOW, budget_seconds=600.0)
    waiting = claimed(storage)
    assert time.process_time() - started < 15
    assert (len(claims.files), claims.left, len(waiting["2024-05-01"])) == (10_000, 0, 10_000)
    assert len({file.seen_at for file in claims.files}) == 10_000
