"""What is killed and broken: ``thaw run`` on a tiny simulated dataset, in a child forked with everything imported.

Children are forked from a server that imported all that a run needs (:mod:`tests.faults.imports`) and ran nothing: a
run costs its own seconds, not 15 more for imports. Functions that children carry out import what they need themselves,
which is there already; so tests, which only start children, stay light.
"""

import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.assets.serving.live import children
from tests.assets.serving.live.children import Child
from tests.faults.plan import Stop

if TYPE_CHECKING:
    from rich.console import Console

    from assets.config import Settings
    from tests.faults.points import StepPoints

NET = "sasrec"
MODELS = ("popularity", NET)
USERS, ITEMS = 120, 80
CHILD_SECONDS = float(os.environ.get("THAW_CHILD_SECONDS", "280"))
"""A run takes 15 to 90 s, by what else the machine does."""
TEST_SECONDS = 6 * CHILD_SECONDS


def tiny_settings(home: Path) -> "Settings":
    """The whole graph in as few seconds as its libraries allow."""
    from assets.config import load_settings  # noqa: PLC0415

    return load_settings(
        {},
        home=home,
        models=MODELS,
        datasets={"simulated": {"users": USERS, "items": ITEMS, "days": 40, "engagements": 2500}},
        training={"max_epochs": 1},
        split={"windows": 2},
        evaluation={"bootstrap_samples": 20},
        drift={"sample_rows": 100},
    )


@dataclass(frozen=True)
class Told:
    """How a run ended, and what the person at the terminal read.

    Attributes:
        made: assets that it materialized.
        points: step and label of each point that it passed.
    """

    success: bool
    text: str
    made: list[str]
    points: list[tuple[str, str]]


@dataclass(frozen=True)
class Ended:
    """Of a child: the signal that ended it, or what was told."""

    signal: int
    told: Told | None


def run(home: Path, stop: Mapping[str, Any], look: bool, shift: float = 0.0, beside: Path | None = None) -> Told:
    """``thaw run`` in this process, ended at ``stop``; a function of a child.

    Args:
        stop: fields of a :class:`Stop`; empty: none.
        look: whether to pass points at all.
        shift: seconds that this process's clock is wrong by; then everything is made, current or not.
        beside: see :func:`begin`.
    """
    from rich.console import Console  # noqa: PLC0415

    from tests.assets.serving.live.faults import counting  # noqa: PLC0415
    from tests.faults.points import StepPoints  # noqa: PLC0415

    own_process(home, beside)
    if shift:
        from tests.faults.clocks import shift_clock  # noqa: PLC0415

        shift_clock(shift)
    settings = tiny_settings(home)
    points = StepPoints(Stop(**stop) if stop else None)
    console = Console(file=points, width=200, highlight=False)
    if not (stop or look):
        return told(settings, console, points, force=bool(shift))
    with counting(points, home):
        return told(settings, console, points)


def told(settings: "Settings", console: "Console", points: "StepPoints", force: bool = False) -> Told:
    """What ``thaw run`` does and prints, short of the results."""
    from orchestration.remedies import TROUBLE, explain  # noqa: PLC0415
    from orchestration.runner import run_graph  # noqa: PLC0415
    from orchestration.summary import print_failure  # noqa: PLC0415

    try:
        outcome = run_graph(settings, None, console, force=force)
    except TROUBLE as error:  # as the command does
        return Told(False, points.text + explain(error, settings), [], points.labelled)
    points.end()
    if not outcome.success:
        print_failure(settings, outcome, console)
    return Told(outcome.success, points.text, sorted(outcome.materialized), points.labelled)


def own_process(home: Path, beside: Path | None = None) -> None:
    """Temporary files, output and signals apart from those of other children."""
    own = (beside or home) / "tmp"
    own.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    place = (beside or home.parent) / f"{home.name}-output.txt"
    quiet = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        stream.flush()
        os.dup2(quiet, number)


def begin(
    home: Path, stop: Stop | None = None, *, look: bool = False, shift: float = 0.0, beside: Path | None = None
) -> Child:
    """Start a run in a child.

    Args:
        beside: folder for what is told and for temporary files; by default the home's and its parent.
    """
    return _child(home, run, home, asdict(stop) if stop else {}, look, shift, beside, beside=beside)


def finish(child: Child) -> Ended:
    """Wait for it."""
    ended_by = child.end(CHILD_SECONDS)
    return Ended(ended_by, None if ended_by else _returned(child))


def carry_out(
    home: Path, stop: Stop | None = None, *, look: bool = False, shift: float = 0.0, beside: Path | None = None
) -> Ended:
    """Start a run in a child and wait for its end; see :func:`begin`."""
    return finish(begin(home, stop, look=look, shift=shift, beside=beside))


def call(home: Path, function: str, *args: Any) -> Any:
    """What a function (``module:name`` below this package) of ``home`` and ``args`` returns in a child."""
    child = _child(home, _called, function, home, args)
    ended_by = child.end(CHILD_SECONDS)
    assert not ended_by, f"{function} was killed by signal {ended_by}"
    return _returned(child)


def call_to_its_end(home: Path, function: str, *args: Any) -> int:
    """The signal that ended a child in which ``function`` was called; 0: none."""
    return _child(home, _called, function, home, args).end(CHILD_SECONDS)


def _called(function: str, home: Path, args: tuple[Any, ...]) -> Any:
    module, _, name = function.partition(":")
    own_process(home)
    return getattr(importlib.import_module(f"{__package__}.{module}"), name)(home, *args)


def _child(home: Path, function: Any, *args: Any, beside: Path | None = None) -> Child:
    """A child whose returned value and errors lie beside the home, not in it."""
    place = (beside or home.parent) / f"{home.name}-children"
    place.mkdir(parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    return Child(f"child-{os.urandom(4).hex()}", place, function, *args)


def _returned(child: Child) -> Any:
    found = child.returned()
    for left in child.home.glob(f"{child.name}.*"):
        left.unlink()
    return found


def preload() -> None:
    """Let the server of children import everything; before the first child is started."""
    if (name := f"{__package__}.imports") not in children._PRELOADED:
        children._PRELOADED.append(name)
