"""A clock that is wrong, for this process: :mod:`time` and every loaded module's ``datetime``."""

import datetime
import sys
import time
from typing import Any


def shift_clock(seconds: float) -> None:
    """From now on this process's clock is wrong by ``seconds``; monotonic clocks and the file system's are right."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: now_ns() + int(seconds * 1e9)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    for name, module in list(sys.modules.items()):
        if not name.startswith(("assets", "orchestration")):  # Dagster checks types by identity
            continue
        for held, value in (("datetime", datetime.datetime), ("time_ns", now_ns)):
            if vars(module).get(held) is value:
                setattr(module, held, Shifted if held == "datetime" else time.time_ns)
