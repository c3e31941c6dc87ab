import json
import os
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config import load_settings
from assets.ingestion.datasets import simulated
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import ingest
from assets.ingestion.simulation.days import Day
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.write import MANIFEST, whole_folder, write_simulation
from assets.storage import file_digest
from tests.assets.ingestion.layouts import NOW

OPTIONS = SimulatedOptions(users=200, items=150, days=30, engagements=3_000, seed=4)
PARTS = 1_000


def _unheard(day: Day) -> None:
    del day


def _written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_simulation(tmp_path / name, OPTIONS, NOW, _unheard, PARTS)
    assert _written(tmp_path / "one") == _written(tmp_path / "other")


def test_parts_hold_what_the_dataset_reads(tmp_path: Path) -> None:
    heard: list[Day] = []
    written = write_simulation(tmp_path / "out", OPTIONS, NOW, heard.append, PARTS)
    raw = simulated.read(tmp_path, OPTIONS, NOW)
    parts = sorted((tmp_path / "out").glob("interactions-*.parquet"))
    assert [part.name for part in parts] == [f"interactions-{number:05d}.parquet" for number in range(3)]
    log = pa.concat_tables(pq.read_table(part) for part in parts)
    assert log.equals(raw.interactions.drop_columns(["source_row"]))
    assert pq.read_table(tmp_path / "out" / "items.parquet").equals(raw.items)
    assert pq.read_table(tmp_path / "out" / "users.parquet").equals(raw.users)
    assert written.rows == {"interactions": log.num_rows, "items": 150, "users": 200}
    assert sum(len(day.users) for day in heard) == log.num_rows
    assert set(written.files) == {path.name for path in (tmp_path / "out").iterdir()}


def test_the_manifest_says_what_is_there(tmp_path: Path) -> None:
    write_simulation(tmp_path / "out", OPTIONS, NOW, _unheard, PARTS)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert SimulatedOptions(**manifest["options"]) == OPTIONS
    assert all(file_digest(tmp_path / "out" / name) == digest for name, digest in manifest["files"].items())
    assert len(manifest["files"]) == 5


def test_nothing_is_left_of_a_failed_run(tmp_path: Path) -> None:
    def fails(day: Day) -> None:
        if day.seconds[0] > 20 * 86_400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulation(tmp_path / "out", OPTIONS, NOW, fails, PARTS)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from datetime import datetime
from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.write import write_simulation
seen = []
def heard(day):
    seen.append(day)
    if len(seen) == 25:
        os.kill(os.getpid(), signal.SIGKILL)
options = SimulatedOptions(users=200, items=150, days=30, engagements=3_000, seed=4)
write_simulation(Path(sys.argv[1]), options, datetime(2025, 1, 1), heard, 1_000)
"""


def test_a_killed_run_is_not_mistaken_for_a_dataset_and_is_cleared_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False, cwd=Path.cwd())
    assert done.returncode == -9
    assert not (tmp_path / "out").exists()
    leftovers = list(tmp_path.iterdir())
    assert leftovers
    assert any(leftovers[0].glob("interactions-*.parquet")), "it was killed after its first part"
    write_simulation(tmp_path / "out", OPTIONS, NOW, _unheard, PARTS)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_of_two_runs_at_once_the_first_to_end_stands(tmp_path: Path) -> None:
    def slower() -> None:
        with whole_folder(tmp_path / "out") as first:
            (first / "slower").touch()
            with whole_folder(tmp_path / "out") as second:
                assert first.exists(), "it belongs to a process that lives"
                (second / "faster").touch()

    with pytest.raises(IngestionError, match="exists and is not an empty folder"):
        slower()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["faster"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine").write_text("precious")
    with pytest.raises(IngestionError, match="out exists and is not an empty folder; remove it or name another"):
        write_simulation(folder, OPTIONS, NOW, _unheard)
    assert (folder / "mine").read_text() == "precious"
    (folder / "mine").unlink()
    write_simulation(folder, OPTIONS, NOW, _unheard)
    assert (folder / MANIFEST).exists()


def test_the_future_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"start": date(2030, 1, 1)})
    with pytest.raises(IngestionError, match="in the future"):
        write_simulation(tmp_path / "out", options, datetime(2025, 1, 1), _unheard)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_with_a_strange_name_is_cleared(tmp_path: Path) -> None:
    strange = tmp_path / ".out.partial-x-y"
    strange.mkdir()
    mine = tmp_path / f".out.partial-{os.getpid()}-abc"
    mine.mkdir()
    write_simulation(tmp_path / "out", OPTIONS, NOW, _unheard)
    assert not strange.exists()
    assert mine.exists(), "of a process that lives"


@pytest.mark.parametrize("name", ["a**b", "out[1]"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.partial-x-y").mkdir()
    write_simulation(tmp_path / name, OPTIONS, NOW, _unheard)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_another_machine_writes_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / ".out.partial-99999999-0badcafe-01234567"
    theirs.mkdir()
    write_simulation(tmp_path / "out", OPTIONS, NOW, _unheard)
    assert theirs.exists()


def test_the_dataset_files_reads_it(tmp_path: Path) -> None:
    write_simulation(tmp_path / "files", OPTIONS, NOW, _unheard, PARTS)
    settings = load_settings({"THAW_DATA_DIR": str(tmp_path)}, dataset="files", home=tmp_path / "home")
    report = ingest(settings, settings.storage, NOW)
    raw = simulated.read(tmp_path, OPTIONS, NOW)
    assert report.rows == {name: table.num_rows for name, table in raw.named.items()}
    read = settings.storage.read_raw("interactions")
    assert read["source_row"].tolist() == list(range(1, len(read) + 1))
    assert read["item_id"].tolist() == raw.interactions["item_id"].to_pylist()
