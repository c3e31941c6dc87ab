"""Training of our ``sasrec`` beside RecTools' SASRec: the same rows, machine and sizes, one evaluation of both.

    python -m benchmarks.peers.compare [--datasets ml-100k] [--rounds 2] [--threads 1] [--cpu-seconds 120] [--write]

Both train on everything before the cutoff of the exported tables (``thaw run`` makes them), with the same dimension,
blocks, heads, history length and dropout, without trend and features; RecTools with its default, full softmax over the
catalog, ours with its preset's, a softmax over the batch's targets and 1,024 draws. Ours trains as its preset says: the
epochs are chosen on the validation tail, and the refit on all train time is what is timed and ranked; so it does with
1, 2, 3 and 5 epochs at most.
RecTools trains with its own optimiser and batches of 128 sequences for ``--cpu-seconds``; after 1, 2, 5, 10, 20, ...
epochs it is ranked on the *test* cases and its best counts, a choice that flatters it. It predicts the
latest engagements of a user, ours all of them: hence engagements per second and seconds to the same quality are shown.
Quality is NDCG@10 of our full ranking, rolling histories, on the same cases. Rounds alternate the two sides.
``--write`` puts the tables between the marks ``peers`` of ``docs/benchmarks.md``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from torch import Tensor

from assets.config import Settings, load_settings
from assets.evaluation.protocol import build_cases, of_protocol, rank_under_protocols
from assets.evaluation.run import fallback
from assets.evaluation.slices import NDCG, metrics_frame
from assets.ranking import Recommender
from assets.stream import PADDING, DatasetTables, EngagementStream, Int, Queries, load_tables
from assets.training.checkpoints import recommender_of
from assets.training.past import before_cutoff
from assets.training.presets import PRESETS, FitPreset
from assets.training.registry import MODELS
from assets.training.train import train
from benchmarks.marked import replace_marked
from benchmarks.measuring import machine
from benchmarks.peers.sides import K, Side, sides_table, verdict
from benchmarks.scale_page import PAGE
from benchmarks.training import Measured, fast_epoch_seconds, in_child, peak_mib
from models.sequence import SequenceUsersConfig

MODEL: Final = "sasrec"
UNTUNED: Final = "peers"
"""Name of a dataset that nothing was tuned for: plain presets, no trend."""

EXPORT: Final = (1, 2, 5, 10, 20, 50, 100, 200)
"""Epochs after which the peer is ranked."""

OUR_EPOCHS: Final = (1, 2, 3, 5)
"""Epochs that ours is trained for beside its preset's, to see when it is as good as the peer ever is."""

NET_STEPS: Final = 30
PEER: Final = Path(__file__).with_name("rectools_sasrec.py")
PEER_PYTHON: Final = Path(__file__).with_name(".venv") / "bin" / "python"


class Vectors:
    """A recommender of exported vectors: what is not among the items or histories scores below all that is."""

    def __init__(self, folder: Path, epoch: int, histories: Int, items: int) -> None:
        with np.load(folder / f"vectors-{epoch}.npz") as held:
            users, known, ids = held["users"], held["items"], held["ids"]
        bound = 1 + float(np.linalg.norm(users, axis=1).max() * np.linalg.norm(known, axis=1).max())
        self.history_length = histories.shape[1]
        self._rows = {history.tobytes(): row for row, history in enumerate(histories)}
        self._users = torch.from_numpy(np.column_stack([users, np.full(len(users), -bound, np.float32)]))
        self._items = torch.zeros(items, known.shape[1] + 1)
        self._items[:, -1] = 1
        self._items[ids] = torch.from_numpy(np.column_stack([known, np.zeros(len(known), np.float32)]))

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> Tensor:  # noqa: ARG002 - frozen
        return self._items

    def user_vectors(self, queries: Queries, items: Tensor) -> Tensor:  # noqa: ARG002 - the interface's
        return self._users[[self._rows[history.tobytes()] for history in queries.history_items]]


def measure_ours(dataset: str, threads: int, epochs: int) -> Side:
    """Train our model for at most so many epochs and rank with it, in a process of its own."""
    settings, tables = tables_of(dataset)
    chosen = {MODEL: {"threads": threads, "max_epochs": epochs}}
    own = settings.training.model_copy(update={"hyper_parameters": chosen, "device": "cpu"})
    trained = train(MODEL, tables, settings.model_copy(update={"dataset": UNTUNED, "training": own}))
    peak, refit = peak_mib(), trained.spent["refit"]
    ndcg = quality(recommender_of(trained, tables), tables, settings)
    rows = len(before_cutoff(tables).stream)
    return Side("ours", rows, trained.best_epoch, refit.wall, refit.cpu, peak, ndcg)


def measure_peer(dataset: str, threads: int, cpu_seconds: float) -> list[Side]:
    """Train RecTools in its environment, then rank with the vectors of every export."""
    settings, tables = tables_of(dataset)
    histories = case_histories(settings, tables)
    sides = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_input(folder, tables, histories, peer_options(threads, cpu_seconds, settings.training.seed))
        subprocess.run([str(PEER_PYTHON), str(PEER), str(folder)], check=True, stdout=subprocess.DEVNULL)
        cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
        for epochs in sorted(int(path.stem.partition("-")[2]) for path in folder.glob("vectors-*.npz")):
            spent = np.array(cost["epochs"][:epochs]).sum(axis=0)
            vectors = Vectors(folder, epochs, histories, len(tables.catalog.available_at))
            ndcg = quality(vectors, tables, settings)
            sides.append(Side("RecTools", cost["predicted"], epochs, *spent.tolist(), cost["peak_mib"], ndcg))
    return sides


def plain_preset() -> FitPreset:
    config = PRESETS[MODEL]
    assert isinstance(config, FitPreset)
    return config


def peer_options(threads: int, cpu_seconds: float, seed: int) -> dict[str, Any]:
    """Sizes of our preset; RecTools' own learning rate and batch size."""
    net = plain_preset().net
    assert isinstance(net.users, SequenceUsersConfig)
    return {
        "threads": threads,
        "export": EXPORT,
        "cpu_seconds": cpu_seconds,
        "seed": seed,
        "dim": net.dim,
        "layers": net.users.layers,
        "heads": net.users.heads,
        "length": net.users.history_length,
        "dropout": net.users.dropout,
        "learning_rate": 1e-3,
        "batch_size": 128,
    }


def tables_of(dataset: str) -> tuple[Settings, DatasetTables]:
    settings = load_settings(dataset=dataset)
    return settings, load_tables(settings.storage)


def case_histories(settings: Settings, tables: DatasetTables) -> Int:
    """[H, L] distinct histories of the test cases, as full ranking asks for them."""
    cases = build_cases(settings.storage.read_table("test_cases"), tables).cases
    length = peer_options(1, 0, 0)["length"]
    held: NDArray[np.int64] = tables.stream.queries(cases.users, cases.timestamps, length).history_items
    return np.unique(held, axis=0)


def write_input(folder: Path, tables: DatasetTables, histories: Int, options: dict[str, Any]) -> None:
    stream = tables.stream.before(tables.cutoff)  # rows of all items, as the histories'; before_cutoff numbers anew
    instants = stream.timestamps.astype("datetime64[us]").astype(np.int64)
    np.savez(folder / "train.npz", user=stream.users, item=stream.items, instant=instants)
    assert PADDING == -1, "the other side takes -1 for no item"
    np.save(folder / "histories.npy", histories)
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")


def quality(model: Recommender, tables: DatasetTables, settings: Settings) -> float:
    """NDCG@10 over all windows of cases whose user has a history, under the headline protocol."""
    cases = build_cases(settings.storage.read_table("test_cases"), tables)
    protocol = settings.evaluation.headline
    labels = {"dataset": settings.dataset, "model": MODEL, "seed": 0}
    ranks = rank_under_protocols(model, fallback(tables, settings), cases, tables, (protocol,), labels)
    table = of_protocol(metrics_frame(ranks, (K,), 2, 0), protocol)
    chosen = table[(table["slice"] == "overall") & (table["window"] == "all")]
    return float(chosen.loc[(chosen["metric"] == NDCG) & (chosen["k"] == K), "value"].item())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["movietweetings-100k", "ml-100k"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-seconds", type=float, default=120, help="of the peer's training, per dataset and round")
    parser.add_argument("--nets", action="store_true", help="speed and memory of every net too")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name}")
    options = parser.parse_args()
    if not PEER_PYTHON.exists():
        parser.error(f"{PEER_PYTHON} does not exist: `make bench-peers` makes the environment")
    busy = machine()
    rows, verdicts = [], []
    for dataset in options.datasets:
        ours: list[Side] = []
        shorter: list[Side] = []
        peers: list[Side] = []
        for number in range(options.rounds):
            print(f"{dataset}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
            most = plain_preset().max_epochs
            ours.append(in_child(measure_ours, dataset, options.threads, most))
            peers += measure_peer(dataset, options.threads, options.cpu_seconds)
            shorter += [
                in_child(measure_ours, dataset, options.threads, epochs) for epochs in OUR_EPOCHS if epochs < most
            ]
        rows += [side.row(dataset) for side in (*shorter, *ours, *peers)]
        verdicts.append(verdict(dataset, ours, shorter, peers))
    parts = ["\n".join(f"- {one}" for one in verdicts), sides_table(rows)]
    if options.nets:
        parts.append(nets_table(options.datasets, options.threads))
    text = "\n\n".join([*parts, f"Measured on {busy} (load of other work when it began), {options.threads} thread(s)."])
    print(text)
    if options.write:
        replace_marked(PAGE, "peers", text)


def measure_net(dataset: str, model: str, threads: int) -> Measured:
    """A short epoch of a net as it is tuned for the dataset, after one of warm-up."""
    settings, tables = tables_of(dataset)
    return fast_epoch_seconds(model, tables, settings, threads, epochs=1, steps=NET_STEPS)


def nets_table(datasets: list[str], threads: int) -> str:
    """Every net's engagements per second and peak memory."""
    rows: list[list[Any]] = []
    for dataset in datasets:
        for model in (name for name, entry in MODELS.items() if entry.kind == "net"):
            measured = in_child(measure_net, dataset, model, threads)
            rows.append([dataset, model, measured.per_second, measured.per_cpu_second, measured.peak_mib])
    headers = ("dataset", "net", "engagements/s", "/CPU s", "peak MiB")
    return str(tabulate(rows, headers, floatfmt=",.0f", tablefmt="github"))


if __name__ == "__main__":
    main()
