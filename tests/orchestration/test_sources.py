"""A digest of sources follows every import, and nothing else."""

import ast
from pathlib import Path

import pytest

from assets.config import PROJECT_ROOT
from orchestration.definitions import CHECKS, STAGES
from orchestration.sources import PACKAGES, reached, source_digest


def tree(root: Path, **changed: str) -> Path:
    sources = {
        "assets/__init__.py": "",
        "assets/stage.py": "def f():\n    from assets.low import g\n    return g()\n",
        "assets/low.py": "from models import net as held\nimport assets.plain\ng = held\n",
        "assets/plain.py": "import json\n",
        "assets/apart.py": "x = 1\n",
        "assets/page.js": "let x = 1\n",
        "models/__init__.py": "",
        "models/net.py": "y = 1\n",
        "sql/a.sql": "select 1",
    }
    for name, content in {**sources, **changed}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_imports_are_followed_those_in_functions_and_of_packages_too(tmp_path: Path) -> None:
    root = tree(tmp_path)
    found = {path.relative_to(root).as_posix() for path in reached("assets.stage", root)}
    assert found == {
        *("assets/__init__.py", "assets/stage.py", "assets/low.py", "assets/plain.py", "assets/page.js"),
        *("models/__init__.py", "models/net.py"),
    }


@pytest.mark.parametrize(
    "name", ["assets/stage.py", "models/net.py", "models/__init__.py", "assets/page.js", "sql/a.sql"]
)
def test_what_may_run_counts(tmp_path: Path, name: str) -> None:
    first = source_digest(["assets.stage"], ["sql"], tree(tmp_path / "a"))
    assert first == source_digest(["assets.stage"], ["sql"], tree(tmp_path / "b"))
    assert first != source_digest(["assets.stage"], ["sql"], tree(tmp_path / "c", **{name: "z = 2\n"}))


def test_what_cannot_run_does_not_count(tmp_path: Path) -> None:
    first = source_digest(["assets.stage"], [], tree(tmp_path / "a"))
    changed = tree(tmp_path / "b", **{"assets/apart.py": "x = 2\n", "sql/a.sql": "select 2"})
    assert first == source_digest(["assets.stage"], [], changed)


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"assets\.gone"):
        source_digest(["assets.gone"], [], tree(tmp_path))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        source_digest(["assets.stage"], ["nowhere"], tmp_path)


def test_nothing_that_a_step_reaches_is_imported_by_a_name_made_at_run_time() -> None:
    """Such an import cannot be read from the source. Studies have one; no step of ``thaw run`` does."""
    modules = {stage.op.compute_fn.decorated_fn.__module__ for stage in [*STAGES, *CHECKS]}
    modules.remove("assets.evaluation.studies.assets")
    files = {path for name in modules for path in reached(name) if path.suffix == ".py"}
    assert PROJECT_ROOT / "assets" / "training" / "train.py" in files
    for path in files:
        for call in (node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).endswith(("import_module", "__import__")):
                assert isinstance(call.args[0], ast.Constant), path
                assert str(call.args[0].value).partition(".")[0] not in PACKAGES, path
