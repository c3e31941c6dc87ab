"""Loss curve and tables for people: pure, no Dagster."""

from typing import Any

import pandas as pd

from assets.training.train import Trained
from dashboards.figures import inline_png, png_of


def loss_curve(trained: Trained) -> str:
    """Markdown image, PNG inline: training loss of both phases, and the validation metric of the first, by epoch."""
    # Heavy, and matplotlib.pyplot would choose a window system: the figure is drawn by Agg alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(6, 3), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.subplots()
    right = left.twinx()
    for phase, entries in trained.history.items():
        frame = pd.DataFrame(entries)
        left.plot(frame["epoch"], frame["loss"], marker=".", label=f"loss, {phase}")
        for name in frame.columns.difference(["epoch", "loss"]):
            right.plot(frame["epoch"], frame[name], linestyle="--", color="tab:gray", alpha=0.8)
            right.annotate(name, (frame["epoch"].iloc[-1], frame[name].iloc[-1]), fontsize=8)
    left.axvline(trained.best_epoch, color="tab:green", linewidth=0.8, label="best epoch")
    left.set(xlabel="epoch", ylabel="training loss", title=trained.model)
    right.set_ylabel("validation metric")
    left.legend(fontsize=8)
    return inline_png(png_of(figure), f"loss curve of {trained.model}")


def loss_table(trained: Trained) -> str:
    """Markdown table: one row per phase and epoch."""
    rows: list[dict[str, Any]] = [
        {"phase": phase, **entry} for phase, entries in trained.history.items() for entry in entries
    ]
    frame = pd.DataFrame(rows)
    frame["epoch"] = frame["epoch"].astype(int)
    return frame.to_markdown(index=False, floatfmt=".4f")


def parameters(trained: Trained) -> int:
    """Trained numbers in the weights."""
    return sum(value.numel() for value in (trained.weights or {}).values())
