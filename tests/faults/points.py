"""Where a run of the graph is ended: at a numbered point of a step, or so many seconds into it.

Points are those of :mod:`tests.assets.serving.live.faults` (before every rename, removal, sync and creation of a file,
before and in the middle of every file and of every change and commit of the store), numbered within the step at work,
so that the same seed ends the same step at the same place. Steps are told apart by what the run prints.
"""

import io
import os
import re
import signal

from tests.assets.serving.live.faults import Points
from tests.faults.plan import BEFORE, Stop

_STARTED = re.compile(r"^start\s+(\S+)", re.MULTILINE)


class StepPoints(Points, io.StringIO):
    """Points by step; also the file that the run's console prints to, which is how it knows the step."""

    def __init__(self, stop: Stop | None = None) -> None:
        io.StringIO.__init__(self)
        Points.__init__(self)
        self.stop_where, self.step = stop, BEFORE
        self.labelled: list[tuple[str, str]] = []
        self._within = 0
        self._arm()

    @property
    def text(self) -> str:
        return self.getvalue()

    def write(self, text: str) -> int:
        for step in _STARTED.findall(text):
            self._enter(step)
        return super().write(text)

    def passing(self, name: str) -> bool:
        self.labelled.append((self.step, name))
        self._within += 1
        where = self.stop_where
        if where is None or where.step != self.step or where.seconds is not None:
            return False
        return self._within > where.number

    def end(self) -> None:
        """Nothing follows: a process that was to end in the last step, and passed fewer points, ends now."""
        self._enter("(after)")

    def _enter(self, step: str) -> None:
        where = self.stop_where
        if where is not None and where.step == self.step != step:
            self.stop()  # it passed fewer points than the undisturbed run: it ends where the step did
        self.step, self._within = step, 0
        self._arm()

    def _arm(self) -> None:
        where = self.stop_where
        if where is None or where.step != self.step:
            return
        if where.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, where.seconds))

    def stop(self) -> None:
        os.kill(os.getpid(), self.signal)
