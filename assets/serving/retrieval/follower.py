"""The thread of a service that opens the index and then follows it, for as long as the service runs."""

import logging
import threading
from collections.abc import Callable

from assets.serving.retrieval.retriever import Retriever
from assets.serving.retrieval.served import ServedLog

LOG = logging.getLogger(__name__)


class Follower:
    """Opens a retriever, as soon as there is an index, and refreshes it.

    What goes wrong is logged once, kept in :attr:`error` and tried again; queries are answered from what there is.

    Args:
        opening: opens the retriever.
        seconds: between two looks.
        served: where it says what searches see.
        clock: wall clock, microseconds.
    """

    def __init__(
        self, opening: Callable[[], Retriever], seconds: float, served: ServedLog, clock: Callable[[], int]
    ) -> None:
        self._opening, self._seconds, self._served, self._clock = opening, seconds, served, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.retriever: Retriever | None = None
        self.error: str | None = None
        self.errors = 0
        self.deltas = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and close the retriever once its queries have ended."""
        self._stopping.set()
        self._thread.join()
        if self.retriever is not None:
            self.retriever.close()

    def look(self) -> None:
        """Open or refresh, once."""
        try:
            self._look()
        except Exception as error:  # whatever it is: a service that stops following would serve old results for ever
            message = f"{type(error).__name__}: {error}"
            self.errors += 1
            if message != self.error:
                LOG.warning("the index cannot be followed: %s", message)
            self.error = message
        else:
            self.error = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._seconds)

    def _look(self) -> None:
        if self.retriever is None:
            opened = self._opening()
            applied = [(opened.version.seq, self._clock())]
            self.retriever = opened
        else:
            opened, applied = self.retriever, self.retriever.refresh().applied
        if not applied:
            return
        self.deltas += len(applied)
        self._served.applied(opened.version.generation, applied)
        answer = opened.probe()
        self._served.answered(answer.generation, answer.seq, self._clock(), probe=True)
