"""What the code may not do at all: unpickle, evaluate text, or put an expression into SQL that nobody looked at."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from assets.config import PROJECT_ROOT

FOLDERS = ("assets/**/", "models/**/", "orchestration/**/", "dashboards/**/", "benchmarks/", "benchmarks/peers/")

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "np.fromregex",
    "pd.read_pickle",
    "pandas.read_pickle",
    "pd.read_hdf",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "faiss.read_index",
    "os.system",
    "os.popen",
    "pa.deserialize",
    "tarfile.open",
    "shutil.unpack_archive",
}
"""Calls that run what they load, or that unpack names as they are."""

ONE_PLACE = {
    "faiss.deserialize_index": "assets/serving/faiss_file.py",
    "zipfile.ZipFile": "assets/ingestion/archive.py",
}
"""Calls that only the module may make that checks what they get."""

SQL = re.compile(
    r"\b(select|insert into|create (or replace )?(temp )?(table|view)|delete from|attach|copy|from|join|union all|"
    r"order by|where|set) ",
    re.IGNORECASE,
)
QUOTING = {"quoted", "identifier", "identifiers", "literal", "scan", "_scan", "int", "float", "round"}
"""Functions that give a literal, a quoted name, or a scan of a quoted path."""

RUNNERS = {"execute", "executemany", "sql", "frame", "row", "query"}

WORTH = re.compile(
    r"(?<!\.)\b(eval|exec|compile)\(|allow_pickle|shell=|faiss\.|zipfile|\.("
    + "|".join(RUNNERS)
    + r")\(|"
    + "|".join([*PICKLES, *(re.escape(call) for call in CALLS if "." in call)])
)
"""Other sources cannot hold any of it, and parsing all 450 took 3 s of CPU."""

REVIEWED = {
    "assets/ingestion/statistics.py": {"column", "number", "last", "rows", "young"},
    "assets/monitoring/partitions/measure.py": {"span", "low", "high", "order", "settings.drift.sample_rows"},
    "assets/monitoring/partitions/reference.py": {
        *("query", "rows", "span", "days", "inside", "begins_at", "cutoff", "chosen", "unit", "most"),
    },
    "assets/monitoring/partitions/source.py": {
        *("oldest", "rule", "kind", "name", "every"),
        *("' UNION ALL '.join(plain)", "' UNION ALL '.join(parts[True])", "' AND '.join(kept) or 'true'"),
    },
    "assets/quality/large_frames.py": {"left", "right", "same", "tested"},
    "assets/quality/suspects.py": {"predicate(one)", "where", "', '.join(['count(*)', *sums])", "held"},
    "assets/transforms/export.py": {"table", "export.model", "export.order_by"},
    "orchestration/postgres.py": {"copy"},  # the path of a file, in a message
}
"""Expressions in SQL of which somebody saw that they are texts of the module's own, numbers, or instants."""


@cache
def parsed() -> tuple[tuple[str, ast.Module], ...]:
    return tuple(sources())


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted(PROJECT_ROOT.glob(f"{folder}*.py")):
            text = path.read_text(encoding="utf-8")
            if WORTH.search(text):
                yield path.relative_to(PROJECT_ROOT).as_posix(), ast.parse(text)


def unpickles(file: str, tree: ast.Module) -> list[str]:
    """What in a source loads by running."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        found += [f"{file}:{node.lineno} imports {name}" for name in names if name.split(".")[0] in PICKLES]
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CALLS or ONE_PLACE.get(called, file) != file:
                found.append(f"{file}:{node.lineno} calls {called}")
            for word in node.keywords:
                if word.arg in {"allow_pickle", "shell"} and not is_false(word.value):
                    found.append(f"{file}:{node.lineno} passes {word.arg}")
    return found


def dotted(node: ast.expr) -> str:
    """``torch.load``; nothing of what is no name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def unquoted(file: str, tree: ast.Module) -> list[str]:
    """Expressions in SQL that are no constants, not quoted and not reviewed; and SQL that is put together otherwise."""
    found = []
    runs = any(isinstance(node, ast.Call) and runner(node) for node in ast.walk(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and runs and SQL.search(literal(node)):
            parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            wrong = [ast.unparse(part) for part in parts if not constant(part) and not quoting(part)]
            found += [f"{file}: {part}" for part in wrong if part not in REVIEWED.get(file, set())]
        if (
            isinstance(node, ast.Call)
            and runner(node)
            and node.args
            and assembled(node.args[0])
            and not composed(node.args[0])
        ):
            found.append(f"{file}:{node.lineno}: {ast.unparse(node.args[0])}")
    return found


def runner(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr in RUNNERS


def literal(node: ast.JoinedStr) -> str:
    return " ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant)) + " "


def constant(node: ast.expr) -> bool:
    """A name in capitals, alone or of a class or module."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return bool(name) and name == name.upper()


def quoting(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in QUOTING


def composed(node: ast.expr) -> bool:
    """psycopg2's own quoting: ``sql.SQL("constant {}").format(sql.Identifier(name))``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"):
        return False
    text = node.func.value
    return (
        isinstance(text, ast.Call)
        and dotted(text.func) == "sql.SQL"
        and all(isinstance(part, ast.Constant) for part in text.args)
        and not node.keywords
        and all(isinstance(part, ast.Call) and dotted(part.func) == "sql.Identifier" for part in node.args)
    )


def assembled(node: ast.expr) -> bool:
    """SQL by ``%``, ``+`` or ``format``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return any(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in ast.walk(node))
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"


def test_nothing_is_loaded_by_running_it() -> None:
    assert [line for file, tree in parsed() for line in unpickles(file, tree)] == []


def test_sql_holds_constants_and_quoted_texts_only() -> None:
    assert [line for file, tree in parsed() for line in unquoted(file, tree)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=chosen)",
        "eval(text)",
        "faiss.deserialize_index(data)",
        "zipfile.ZipFile(path).extractall()",
        "subprocess.run(text, shell=True)",
    ],
)
def test_what_runs_text_is_noticed(source: str) -> None:
    assert unpickles("somewhere.py", ast.parse(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "c.execute(f'select * from {name}')",
        "query = f\"select * from t where user = '{user}'\"\nc.sql(query)",
        "c.execute('select * from %s' % name)",
        "c.execute('select * from ' + name)",
        "c.execute('select * from {}'.format(name))",
        "c.execute(f'select {quoted(a) + b} from t')",
    ],
)
def test_unquoted_sql_is_noticed(source: str) -> None:
    assert unquoted("somewhere.py", ast.parse(source)) != []


def test_quoted_sql_is_let_through() -> None:
    good = "c.execute(f'select {COLUMN}, {Columns.USER} from {identifier(name)} where a = {quoted(user)}', [b])"
    assert unquoted("somewhere.py", ast.parse(good)) == []


def test_secrets_are_compared_in_constant_time() -> None:
    text = Path(PROJECT_ROOT / "assets/serving/retrieval/service.py").read_text(encoding="utf-8")
    compared = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Compare)
        and any("credentials" in ast.unparse(each) for each in (node.left, *node.comparators))
    ]
    assert compared == []
    assert "secrets.compare_digest" in text
