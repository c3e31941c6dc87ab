"""Runs of variants that no net was trained for: ranks written by hand under names and configurations of one's own."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from assets.config import EvaluationConfig, Settings, TrainingConfig
from assets.evaluation.studies.variants import Run, Trial, Variant
from tests.assets.evaluation.toy import ranks_frame

MEASURED = {
    "seconds": 30.0,
    "epoch_seconds": 2.0,
    "epoch_cpu_seconds": 1.5,
    "epochs": 7,
    "best_epoch": 5,
    "parameters": 1234,
}


def settings(seeds: int = 1) -> Settings:
    return Settings(
        dataset="toy", training=TrainingConfig(seeds=seeds), evaluation=EvaluationConfig(bootstrap_samples=50)
    )


def ranks(above: Sequence[int], nll: Sequence[float] | float) -> pd.DataFrame:
    """A case per entry, of as many users, all with history."""
    frame = ranks_frame([(f"u{user}", 0, "head", 1, True, place, 0) for user, place in enumerate(above)])
    return frame.assign(nll=np.broadcast_to(nll, len(above)))


def run(variant: Variant, above: Sequence[int], nll: Sequence[float] | float, seed: int = 0, **measured: float) -> Run:
    """A run of ``variant`` whose targets came behind ``above`` other items, each with a likelihood."""
    held = ranks(above, nll).assign(model=variant.name, seed=seed)
    return Run(Trial(variant, seed, "{}"), held, {**MEASURED, **measured}, "abc")
