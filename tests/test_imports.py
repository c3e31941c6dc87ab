"""Pure modules stay pure: every one imports with dagster out of reach, and none names it in its source.

The order of the layers is import-linter's business (``pyproject.toml``); here only that it knows every module.
"""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from assets.config import PROJECT_ROOT

PACKAGES = ("assets", "dashboards", "models")
GLUE = {"assets.py", "checks.py", "dbt.py"}
"""Files that may import dagster, besides all of ``orchestration`` and :data:`GLUE_MODULE`."""

GLUE_MODULE = PROJECT_ROOT / "assets" / "partitions.py"

IMPORT_WITHOUT_DAGSTER = """
import importlib, sys, traceback

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("dagster"):
            raise ModuleNotFoundError(f"{name} is blocked: pure modules do without it")

sys.meta_path.insert(0, Blocked())
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        failed.append(f"{name}: {traceback.format_exc(limit=-1).strip().splitlines()[-1]}")
print("\\n".join(failed))
"""


def pure_files() -> list[Path]:
    files = [file for package in PACKAGES for file in sorted((PROJECT_ROOT / package).rglob("*.py"))]
    return [file for file in files if file.name not in GLUE and file != GLUE_MODULE]


def module_name(file: Path) -> str:
    parts = file.relative_to(PROJECT_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str) -> set[str]:
    """Top-level packages that a source imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def run_blocked(modules: list[str], folder: Path) -> str:
    command = [sys.executable, "-c", IMPORT_WITHOUT_DAGSTER, *modules]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_pure_module_imports_without_dagster() -> None:
    modules = [module_name(file) for file in pure_files()]
    assert "assets.storage" in modules
    assert run_blocked(modules, PROJECT_ROOT) == ""


def test_the_block_works(tmp_path: Path) -> None:
    (tmp_path / "culprit.py").write_text("import dagster_dbt\n")
    (tmp_path / "innocent.py").write_text("import json\n")
    assert run_blocked(["innocent", "culprit"], tmp_path).startswith(
        "culprit: ModuleNotFoundError: dagster_dbt is blocked"
    )


def test_no_pure_module_names_dagster_even_inside_a_function() -> None:
    guilty = [module_name(file) for file in pure_files() if any(map(_is_dagster, imported(file.read_text("utf-8"))))]
    assert guilty == []


def test_an_import_inside_a_function_is_found() -> None:
    found = imported("def f():\n    from dagster_dbt import x\n    import os.path\n    from . import y\n")
    assert found == {"dagster_dbt", "os"}
    assert any(map(_is_dagster, found))


def test_every_stage_has_its_place_in_the_order_of_imports() -> None:
    contracts = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = {name for layer in contracts[0]["layers"] for name in layer.split(" | ")}
    stages = {f"assets.{path.stem}" for path in (PROJECT_ROOT / "assets").iterdir() if not path.name.startswith("_")}
    assert layers == stages | {"orchestration", "models", "dashboards"}


def _is_dagster(name: str) -> bool:
    return name.startswith("dagster")
