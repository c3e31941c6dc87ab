"""Online retraining: a net fitted anew on the latest engagements, without validation (HRNN-meta paper, section 4.5).

Targets, ids and feature values are those of the window alone, so that what it lacks is as unknown as a new item.
Histories and trends reach back before it: they are inputs, and a model that serves has them too.
"""

from dataclasses import replace

import numpy as np

from assets.config import Settings
from assets.stream import DatasetTables
from assets.training.checkpoints import LoadedNet
from assets.training.loop import fit, resolve_device, seeded
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset
from assets.training.train import prepare


def retrain(
    config: FitPreset,
    tables: DatasetTables,
    until: np.datetime64,
    settings: Settings,
    since: np.datetime64 | None = None,
) -> LoadedNet:
    """Fit on the engagements of [``since``, ``until``), for all epochs of ``config``.

    Args:
        tables: may go on after ``until``; :func:`assets.training.past.before_cutoff` takes that away first.
        settings: ``training.seed`` and ``training.device`` count.
        since: None to train on everything before ``until``.

    Returns:
        The net with the last epoch's weights; nothing from ``until`` on was read.

    Raises:
        ValueError: when the window holds nothing to train on.
    """
    past = before_cutoff(replace(tables, cutoff=until))
    if not len(past.stream.since(since)):
        raise ValueError(f"no engagement in [{since}, {until}): there is nothing to train on; use a longer window")
    device = resolve_device(settings.training.device)
    with seeded(settings.training.seed, device, config.threads):
        ready = prepare(config, past, past.stream, until, settings, since)
        fitted = fit(ready.net, ready.batches, config, device, config.max_epochs)
    return LoadedNet(fitted.net, ready.encodings, config, until, since)
