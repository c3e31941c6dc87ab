"""What is outside the sources and settings counts, without its secrets."""

from pathlib import Path

import pytest

from orchestration import sources, surroundings
from orchestration.sources import source_digest
from orchestration.surroundings import accelerator, address_of, addresses, libraries


def installed(folder: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (folder / name).mkdir(parents=True)
    return (str(folder), str(folder / "missing"), "")


def test_every_installed_distribution_counts_but_this_project(tmp_path: Path) -> None:
    found = libraries(
        installed(tmp_path, "scipy-1.0.dist-info", "old-2.egg-info", "thaw-0.1.0.dist-info", "thaw.egg-info", "scipy")
    )
    assert found == ("old-2.egg-info", "scipy-1.0.dist-info")


@pytest.mark.parametrize("name", ["scipy", "safetensors", "lmdb", "jinja2", "pyyaml", "pydantic", "torch", "numpy"])
def test_libraries_that_numbers_come_from_are_among_them(name: str) -> None:
    assert [entry for entry in libraries() if entry.lower().startswith(f"{name}-")]


def test_another_version_of_any_of_them_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for version in ("1.0", "1.1", "1.0"):
        monkeypatch.setattr(sources, "libraries", lambda held=version: (f"scipy-{held}.dist-info",))
        sources._environment.cache_clear()
        found.append(source_digest(["assets.schema"]))
    sources._environment.cache_clear()
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("redis://user:secret@host:6379/0?password=secret&db=2", "redis://host:6379/0?2"),
        ("rediss://host/1", "rediss://host/1?"),
        ("unix://user:secret@/run/redis.sock?db=1", "unix:///run/redis.sock?1"),
        ("http://milvus:19530", "http://milvus:19530?"),
        ("folder/lite.db", "folder/lite.db"),
        ("user:secret@spark.example", "spark.example"),
        ("http://[::1", "unreadable"),
    ],
)
def test_an_address_is_known_without_its_secrets(given: str, kept: str) -> None:
    assert address_of(given) == kept
    assert addresses(["A", "B"], {"A": given}) == {"A": kept, "B": ""}


def test_auto_takes_an_accelerator_that_is_there_and_visible(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert accelerator(tmp_path, {}) == "cpu"
    (tmp_path / "nvidia0").touch()
    assert accelerator(tmp_path, {}) == "cuda"
    assert accelerator(tmp_path, {surroundings.VISIBLE: "0"}) == "cuda"
    assert accelerator(tmp_path, {surroundings.VISIBLE: ""}) == "cpu"
