"""Code versions change with the sources that make an asset, and with nothing else."""

from pathlib import Path

import dagster as dg
import pytest

from assets import keys
from orchestration.code_versions import LENGTH, SOURCES, code_version, digest, versioned


def tree(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = root / "stage" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_every_source_is_there_and_every_stage_has_a_version() -> None:
    own = {keys.STAGING, keys.SPLITS, keys.SLICES, keys.HISTORIES}  # dbt's
    assert set(SOURCES) == set(keys.STAGES) - own
    assert all(len(code_version(stage) or "") == LENGTH for stage in SOURCES)
    assert code_version(keys.STAGING) is None


def test_equal_sources_have_equal_versions_and_changed_or_renamed_ones_others(tmp_path: Path) -> None:
    first = digest(("stage",), tree(tmp_path / "a", one="x = 1", two="y = 2"))
    assert first == digest(("stage",), tree(tmp_path / "b", one="x = 1", two="y = 2"))
    assert first != digest(("stage",), tree(tmp_path / "c", one="x = 1", two="y = 3"))
    assert first != digest(("stage",), tree(tmp_path / "d", one="x = 1", three="y = 2"))


def test_files_beside_the_named_ones_do_not_count(tmp_path: Path) -> None:
    first = digest(("stage",), tree(tmp_path / "a", one="x = 1"))
    other = tree(tmp_path / "b", one="x = 1")
    (other / "stage" / "notes.txt").write_text("n")
    (other / "elsewhere.py").write_text("z = 1")
    assert first == digest(("stage",), other)
    assert first == digest(("stage/one.py", "stage"), other)


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        digest(("gone",), tmp_path)


def test_a_version_of_its_own_is_kept() -> None:
    own = dg.AssetSpec(keys.TABLES, code_version="sql")
    assert versioned(own).code_version == "sql"
    assert versioned(dg.AssetSpec(keys.TABLES)).code_version == code_version(keys.TRANSFORMS)
