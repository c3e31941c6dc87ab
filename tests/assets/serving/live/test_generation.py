import json
import subprocess
import sys
from pathlib import Path

import pytest

from assets.config import EngagementRule, Settings
from assets.serving.engines import Engines, write_engines
from assets.serving.live.build import needs_build, renew
from assets.serving.live.damage import take_away_damaged
from assets.serving.live.generation import (
    FORMAT,
    Generation,
    GenerationError,
    GenerationRecord,
    NoIndexError,
    current,
    generations,
    new_generation,
    open_generation,
    remove_half_built,
    remove_outdated,
    require_current,
    switch_to,
)
from assets.serving.store.interface import StoreFaultError
from assets.storage import Storage
from assets.training.checkpoints import read_manifest
from tests.assets.serving.live.conftest import MODEL, Live

RECORD = GenerationRecord(
    model="sasrec", seed=0, checkpoint="c" * 64, tables="t" * 64, until=None, engagement=EngagementRule(), created_at=5
)


def made(storage: Storage, now: int, complete: bool = True) -> Generation:
    generation = new_generation(storage, now, "abcdef" * 4)
    generation.folder.mkdir(parents=True)
    if complete:
        generation.write_record(RECORD)
    return generation


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path, "toy")


def test_nothing_serves_at_first(storage: Storage) -> None:
    assert current(storage) is None
    assert generations(storage) == []
    with pytest.raises(NoIndexError, match="there is no index yet, run `thaw run` first"):
        require_current(storage)
    with pytest.raises(NoIndexError), open_generation(storage):
        pass


def test_names_say_when_and_sort_by_it_and_never_meet(storage: Storage) -> None:
    first, second = made(storage, 1_700_000_000_000_007), made(storage, 1_700_000_000_000_007)
    assert first.name == "20231114T221320.000007-abcdefabcdef"
    assert second.name == "20231114T221320.000008-abcdefabcdef"
    assert generations(storage) == [first, second]


def test_a_switch_is_one_file_and_remembers_the_one_before(storage: Storage) -> None:
    first, second, third = (made(storage, now) for now in (1, 2, 3))
    for generation in (first, second, third):
        switch_to(storage, generation)
        switch_to(storage, generation)  # once more changes nothing
        assert require_current(storage) == generation
    content = json.loads((storage.live / "current.json").read_text())
    assert content == {"generation": third.name, "previous": second.name}
    assert remove_outdated(storage) == [first.name]
    assert generations(storage) == [second, third]


def test_half_built_ones_do_not_serve_and_are_removed(storage: Storage) -> None:
    whole, half = made(storage, 1), made(storage, 2, complete=False)
    with pytest.raises(GenerationError, match="to build a generation anew"):
        switch_to(storage, half)
    assert current(storage) is None
    assert remove_half_built(storage) == [half.name]
    assert generations(storage) == [whole]


def test_a_server_that_is_gone_holds_up_no_build_and_is_asked_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = made(storage, 1, complete=False), made(storage, 2, complete=False)
    write_engines(first.folder, Settings(store={"kind": "redis"}))
    first.checkpoint.mkdir()
    (first.folder / "notes.json").touch()
    dropped, gone = [], True

    def drop(engines: Engines) -> None:
        if gone and engines.store == "redis":
            raise StoreFaultError("THAW_REDIS_URL is not set")
        dropped.append(engines)

    monkeypatch.setattr("assets.serving.live.generation.drop_state", drop)
    assert remove_half_built(storage) == [second.name]
    assert [path.name for path in first.folder.iterdir()] == ["engines.json"]
    assert "THAW_REDIS_URL is not set" in caplog.text
    assert f"if that server is gone for good, delete {first.folder}" in caplog.text
    gone, engines = False, first.engines
    assert remove_half_built(storage) == [first.name]
    assert dropped[-1] == engines
    assert generations(storage) == []


def test_records_come_back_and_other_formats_are_refused(storage: Storage) -> None:
    generation = made(storage, 1)
    assert generation.record() == RECORD
    path = generation.folder / "generation.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 1'))
    with pytest.raises(GenerationError, match="has format 1, this version reads 2"):
        generation.record()


@pytest.mark.parametrize("content", ['{"format": ', "[1]", f'{{"format": {FORMAT}, "model": 7}}', "null"])
def test_a_damaged_record_is_named_and_what_it_is_of_serves_no_longer(storage: Storage, content: str) -> None:
    generation = made(storage, 1)
    switch_to(storage, generation)
    path = generation.folder / "generation.json"
    path.write_text(content)
    with pytest.raises(GenerationError, match=r"(?s)generation\.json is damaged .* build a generation anew"):
        generation.record()
    assert "generation.json is damaged" in str(take_away_damaged(storage))
    assert current(storage) is None


def test_without_a_word_of_its_engines_a_generation_serves_no_longer(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    generation = made(storage, 1)
    switch_to(storage, generation)
    (generation.folder / "engines.json").write_text('{"store": "redis", "tru')
    assert "engines.json is damaged" in str(take_away_damaged(storage))
    assert remove_outdated(storage) == []  # what it has on a server, if anything, is for a person to find
    assert [path.name for path in generation.folder.iterdir()] == ["engines.json"]
    assert f"delete {generation.folder}" in caplog.text


def test_asking_which_is_current_loads_no_torch() -> None:
    command = "import sys, assets.serving.live.generation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_a_store_of_an_older_format_is_refused_by_readers_and_built_anew(live: Live) -> None:
    """Entries of another size would be read as other entries."""
    manifest = read_manifest(live.storage, MODEL, 0)
    old, path = require_current(live.storage), require_current(live.storage).folder / "generation.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 1'))
    with pytest.raises(GenerationError, match=f"has format 1, this version reads {FORMAT}: .* build a generation anew"):
        live.apply()
    assert needs_build(live.storage, manifest) == f"generation {old.name} has format 1, this version reads {FORMAT}"
    live.land([("u01", "i03", "2024-03-07T01:00:00")])
    renew(live.storage, live.settings, live.tables, MODEL, 0, live.later())
    assert needs_build(live.storage, manifest) is None
    assert require_current(live.storage).name != old.name
    assert not live.compare()
