"""The service on the store of a :class:`~tests.assets.serving.retrieval.world.World`, in a process of its own.

``python -m tests.faults.load_service FOLDER GROUPS CONFIG`` says its port and serves until its input ends. What
asks and what writes is then not held up by Python's lock, as nothing is in production.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import uvicorn

from assets.config import PROJECT_ROOT, ServiceConfig
from assets.serving.live.generation import Generation
from assets.serving.live.model import LiveModel
from assets.serving.retrieval.clients import server_options
from assets.serving.retrieval.retriever import Retriever, wall_clock
from assets.serving.retrieval.served import ServedLog, served_path
from assets.serving.retrieval.service import create_app
from assets.serving.retrieval.serving import Serving
from assets.serving.store.lmdb_store import LmdbStore
from assets.storage import Storage
from assets.training.refresh import TrendPreset
from orchestration.live_cli import SWITCH_SECONDS
from tests.assets.serving.retrieval.world import SumOfHistory, World

START_SECONDS = 120


@contextmanager
def served(world: World, config: ServiceConfig) -> Iterator[str]:
    """The address of a service on the world's store."""
    folder = str(world.storage.root)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.load_service", folder, str(world.groups), config.model_dump_json()],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    guard = threading.Timer(START_SECONDS, process.kill)
    guard.start()
    try:
        port = process.stdout.readline().strip()
        assert port, "the service did not start"
        guard.cancel()
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        guard.cancel()
        process.kill()
        process.wait()


def main(folder: Path, groups: int, config: ServiceConfig) -> None:
    """Serve."""
    torch.set_num_threads(1)
    sys.setswitchinterval(SWITCH_SECONDS)
    storage = Storage(folder, "toy")
    model = LiveModel({"model": "sum", "seed": 0}, SumOfHistory(groups), None, TrendPreset())

    def opening(generation: Generation) -> Serving:
        store = LmdbStore(generation.store)
        serving = Serving(generation, store, model, wall_clock)
        serving.close = store.close
        return serving

    app = create_app(lambda: Retriever(storage, 7.0, opening), config, ServedLog(served_path(storage, "load")))
    server = uvicorn.Server(uvicorn.Config(app, port=0, **server_options(config)))

    def stop_with_input() -> None:
        while not server.started:
            threading.Event().wait(0.05)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=stop_with_input, daemon=True).start()
    server.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), ServiceConfig.model_validate_json(sys.argv[3]))
