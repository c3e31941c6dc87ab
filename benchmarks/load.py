"""Load on the HTTP service from wrk, which keeps a number of connections asking without a pause (a closed loop).

Where wrk is not installed, a client in this process does the same, with a tenth of its rate.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import numpy as np

TIMEOUT_SECONDS: Final = 10
"""After which a request counts as an error."""

SCRIPT: Final = """
local paths = {%s}
local threads = {}
local turn = 0
function setup(thread) table.insert(threads, thread) end
function init(args) answered = 0; refused = 0; other = 0 end
function request() turn = turn + 1; return wrk.format("GET", paths[turn %% #paths + 1]) end
function response(status)
  if status == 200 then answered = answered + 1
  elseif status == 503 then refused = refused + 1
  else other = other + 1 end
end
function done(summary, latency)
  local a, r, o, e = 0, 0, 0, summary.errors
  for _, thread in ipairs(threads) do
    a = a + thread:get("answered"); r = r + thread:get("refused"); o = o + thread:get("other")
  end
  print(string.format('{"answered": %%d, "refused": %%d, "other": %%d, "errors": %%d, "seconds": %%f, ' ..
    '"p50_ms": %%f, "p99_ms": %%f, "max_ms": %%f}', a, r, o, e.connect + e.read + e.write + e.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What a stretch of load came to.

    Attributes:
        answered: with 200.
        refused: with 503.
        other: with any other status.
        errors: connections refused or broken, and requests without an answer in time.
        seconds: it took.
        p50_ms: milliseconds to an answer of any status; so the others.
    """

    answered: int
    refused: int
    other: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def per_second(self) -> float:
        """Answers with 200."""
        return self.answered / self.seconds


def load(address: str, paths: Sequence[str], connections: int, seconds: float, token: str | None = None) -> Load:
    """Ask for ``paths`` by turns over that many connections.

    Raises:
        subprocess.CalledProcessError: when wrk fails, as it does where nobody listens.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if (wrk := shutil.which("wrk")) is None:
        return asyncio.run(_without_wrk(address, paths, connections, seconds, headers))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        script.write_text(SCRIPT % ", ".join(map(json.dumps, paths)), encoding="utf-8")
        shown = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        bounds = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_SECONDS}s"]
        ended = subprocess.run(
            [wrk, *bounds, *shown, "-s", str(script), address], check=True, capture_output=True, text=True
        )
    return Load(**json.loads(ended.stdout.splitlines()[-1]))


async def _without_wrk(
    address: str, paths: Sequence[str], connections: int, seconds: float, headers: dict[str, str]
) -> Load:
    taken: list[float] = []
    statuses: Counter[int] = Counter()
    started = time.monotonic()

    async def ask(client: httpx.AsyncClient, turn: int) -> None:
        while time.monotonic() < started + seconds:
            begun = time.perf_counter()
            try:
                status = (await client.get(address + paths[turn % len(paths)])).status_code
            except httpx.HTTPError:
                status = 0
            taken.append(time.perf_counter() - begun)
            statuses[status] += 1
            turn += 1

    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT_SECONDS, limits=limits) as client:
        await asyncio.gather(*(ask(client, turn) for turn in range(connections)))
    p50, p99, most = np.percentile(taken, [50, 99, 100]) * 1e3
    other = sum(count for status, count in statuses.items() if status not in (0, 200, 503))
    elapsed = time.monotonic() - started
    return Load(statuses[200], statuses[503], other, statuses[0], elapsed, float(p50), float(p99), float(most))
