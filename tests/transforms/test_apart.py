"""dbt-core stays out of the process that loads the definitions, and can be imported there all the same."""

import subprocess
import sys
from types import ModuleType

import pytest

from assets.config import PROJECT_ROOT
from assets.transforms.apart import MARK, without_dbt_core

LOADED = """
import sys
import orchestration.definitions
heavy = ("dbt", "torch", "great_expectations", "evidently", "faiss")
loaded = sorted(name for name in sys.modules if name.split(".")[0] in heavy)
from dbt.version import __version__
print(loaded, __version__)
"""


def test_the_definitions_load_without_dbt_core_and_what_stages_import_when_they_run() -> None:
    told = subprocess.run([sys.executable, "-c", LOADED], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    loaded, version = told.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    assert loaded == "[]"
    assert version.split(".")[0].isdigit()


def test_it_is_hidden_meanwhile_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MARK, raising=False)
    with without_dbt_core(), pytest.raises(ImportError):
        import dbt.version  # noqa: F401, PLC0415
    import dbt.version as found  # noqa: PLC0415

    assert found.__version__


def test_it_is_shown_again_where_an_import_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MARK, raising=False)
    with pytest.raises(ZeroDivisionError), without_dbt_core():
        raise ZeroDivisionError
    assert MARK not in sys.modules


def test_what_is_loaded_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ModuleType(MARK)
    monkeypatch.setitem(sys.modules, MARK, loaded)
    with without_dbt_core():
        assert sys.modules[MARK] is loaded
    assert sys.modules[MARK] is loaded
