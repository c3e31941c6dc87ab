"""What has to hold for every case, whatever its files hold."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Final

from tests.fuzz.cases import Case, put
from tests.fuzz.readers import Reader

Listing = dict[str, tuple[int, int, int]]

AGE_SECONDS: Final = 60
OUTCOME: Final = "refused"


class BrokenPromiseError(AssertionError):
    """A reader did what it says it never does."""


class Trial:
    """Gives cases to a reader, one after the other, in one folder.

    Args:
        reader: under test.
        root: folder of its own, with nothing in it.
    """

    def __init__(self, reader: Reader, root: Path) -> None:
        self.reader, self.root = reader, root
        self.outcomes: Counter[str] = Counter()
        self._read = reader.prepare(root)

    def __call__(self, case: Case) -> None:
        """Read one case.

        Raises:
            BrokenPromiseError: for an error that does not say where to look, or for what a refusal left behind.
            Exception: whatever the reader should not have raised.
        """
        if not self.reader.keeps:
            shutil.rmtree(self.root / "data", ignore_errors=True)
        inbox = self.root / self.reader.inbox
        put(inbox, case)
        self._settle(inbox)
        before = self._listing()
        try:
            outcome = self._read()
        except self.reader.refusals as error:
            outcome = OUTCOME
            self._refuse_vague(str(error), case)
            if self._listing() != before:
                raise BrokenPromiseError(f"it was refused, and left something: {before} {self._listing()}") from error
        if partial := [path for path in self._listing() if ".partial-" in path]:
            raise BrokenPromiseError(f"half-written files: {partial}")
        self.outcomes[outcome] += 1

    def _refuse_vague(self, message: str, case: Case) -> None:
        words = (*self.reader.names, *self.reader.told, str(self.root))
        if not any(word in message for word in words):
            raise BrokenPromiseError(f"the error names none of the files {sorted(case)}: {message}")

    def _listing(self) -> Listing:
        found = {}
        for folder, _, names in os.walk(self.root / "data"):
            for name in names:
                state = Path(folder, name).lstat()
                found[f"{folder}/{name}"] = (state.st_ino, state.st_size, state.st_mtime_ns)
        return found

    def _settle(self, inbox: Path) -> None:
        """Files that are dropped were written a minute ago: nobody is writing them."""
        if self.reader.keeps:
            return
        from tests.fuzz.readers import WALL  # noqa: PLC0415 - one clock for both

        for path in inbox.iterdir():
            os.utime(path, ns=(WALL * 1000 - AGE_SECONDS * 10**9,) * 2)


def saved(folder: Path, data: bytes) -> Path:
    """Keep a case where a person can find it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "last.case"
    path.write_bytes(data)
    return path


def report(trial: Trial, seconds: float, peak_mib: float, cases: int) -> str:
    """What a run did, in one line of JSON."""
    told = {"cases": cases, "seconds": round(seconds, 1), "peak_mib": round(peak_mib), **trial.outcomes}
    return json.dumps(told, sort_keys=True)
