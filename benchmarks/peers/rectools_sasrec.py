"""RecTools' SASRec, trained on one table: runs in the environment of ``benchmarks/peers/requirements.txt`` alone.

    python rectools_sasrec.py FOLDER

``FOLDER`` holds ``train.npz`` (user, item, instant in microseconds), ``histories.npy`` [H, L] items, -1 behind, and
``options.json``. Written are ``vectors-<epoch>.npz`` (``users`` [H, D], ``items`` [I, D], ``ids`` [I]) after every
epoch of ``export`` and after the last, which is that in which ``cpu_seconds`` are spent, and ``cost.json``: seconds and
CPU seconds of every epoch, predicted engagements of one, peak MiB.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

WATCHES = []
SPENT = []
"""(seconds, CPU seconds) of every epoch; not on the callback, which RecTools copies before it trains."""


class Epochs(Callback):
    """Times epochs, exports vectors after some, outside of the time, and ends training when its time is spent."""

    def __init__(self, folder, histories, export, budget):
        self.folder, self.histories, self.export, self.budget = folder, histories, set(export), budget
        self.started = None

    def on_train_epoch_start(self, *_):
        self.started = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, trainer, module):
        wall, cpu = self.started
        SPENT.append((time.perf_counter() - wall, time.process_time() - cpu))
        trainer.should_stop = sum(used for _, used in SPENT) > self.budget
        if len(SPENT) in self.export or trainer.should_stop:
            ids = module.data_preparator.item_id_map
            np.savez(self.folder / f"vectors-{len(SPENT)}.npz", **vectors(module.torch_model, ids, self.histories))


@torch.no_grad()
def vectors(net, ids, histories):
    """What the net gives for items and histories, as its own recommending does."""
    training = net.training
    net.eval()
    known = pd.Series(ids.internal_ids, index=ids.external_ids)
    mapped = known.reindex(histories.ravel()).fillna(0).to_numpy().reshape(histories.shape)
    sessions = left_padded(mapped.astype(np.int64))
    items = net.item_model.get_all_embeddings()
    users = [
        net.similarity_module.session_tower_forward(net.encode_sessions({"x": part}, items)[:, -1, :])
        for part in torch.from_numpy(sessions).split(1024)
    ]
    items = net.similarity_module.item_tower_forward(items)
    rows = [row for row, name in enumerate(ids.external_ids) if isinstance(name, (int, np.integer))]
    found = {
        "users": torch.cat(users).numpy(),
        "items": items[rows].numpy(),
        "ids": np.array([ids.external_ids[row] for row in rows], dtype=np.int64),
    }
    net.train(training)
    return found


def left_padded(sessions):
    """[H, L] known entries moved behind the padding, in order; items that training did not know are left out."""
    order = np.argsort(sessions != 0, axis=1, kind="stable")
    return np.take_along_axis(sessions, order, axis=1)


def trainer(epochs):
    """RecTools stores this function by its name: it cannot be a closure."""
    return Trainer(
        max_epochs=epochs,
        callbacks=WATCHES,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )


def main():
    folder = Path(sys.argv[1])
    options = json.loads((folder / "options.json").read_text())
    torch.set_num_threads(options["threads"])
    seed_everything(options["seed"])
    rows = pd.DataFrame(dict(np.load(folder / "train.npz")))
    frame = pd.DataFrame(
        {
            Columns.User: rows["user"],
            Columns.Item: rows["item"],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(rows["instant"], unit="us"),
        }
    )
    histories = np.load(folder / "histories.npy")
    WATCHES.append(Epochs(folder, histories, options["export"], options["cpu_seconds"]))
    length = options["length"]
    model = SASRecModel(
        n_blocks=options["layers"],
        n_heads=options["heads"],
        n_factors=options["dim"],
        dropout_rate=options["dropout"],
        session_max_len=length,
        loss="softmax",
        lr=options["learning_rate"],
        batch_size=options["batch_size"],
        get_trainer_func=trainer,
        get_trainer_func_kwargs={"epochs": max(options["export"])},
    )
    model.fit(Dataset.construct(frame))
    entries = rows.groupby("user").size()
    cost = {
        "epochs": SPENT,
        "predicted": int((entries[entries > 1] - 1).clip(upper=length).sum()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    (folder / "cost.json").write_text(json.dumps(cost))


if __name__ == "__main__":
    main()
