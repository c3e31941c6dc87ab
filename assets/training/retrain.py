"""Online retraining: a net fitted anew on the latest engagements, without validation (HRNN-meta paper, section 4.5).

Targets, ids and feature values are those of the window alone, so that what it lacks is as unknown as a new item.
Histories and trends reach back before it: they are inputs, and a model that serves has them too.
"""

from dataclasses import dataclass, replace

import numpy as np

from assets.config import Settings
from assets.stream import DatasetTables
from assets.training.encoding import Encodings, Universe
from assets.training.loop import fit, resolve_device, seeded
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset
from assets.training.recommender import NetRecommender
from assets.training.refresh import Refresher
from assets.training.train import prepare
from models.base import Net


@dataclass(frozen=True)
class Retrained:
    """A net and what its inputs are made by.

    Attributes:
        net: with the last epoch's weights, on the CPU.
        encodings: of the engagements in the window.
        config: how it was fitted.
        since: start of the window; None for all there was.
        until: its end: nothing from then on was read.
    """

    net: Net
    encodings: Encodings
    config: FitPreset
    since: np.datetime64 | None
    until: np.datetime64

    def over(self, tables: DatasetTables) -> NetRecommender:
        """The net as a recommender over ``tables``, which may go on after ``until``."""
        refresher = Refresher(
            universe=Universe.encode(self.encodings, tables),
            trained_until=self.until,
            history_length=self.net.item_history_length,
            trend=self.config.counts,
            trained_from=self.since,
        )
        return NetRecommender(self.net, refresher)


def retrain(
    config: FitPreset,
    tables: DatasetTables,
    until: np.datetime64,
    settings: Settings,
    since: np.datetime64 | None = None,
) -> Retrained:
    """Fit on the engagements of [``since``, ``until``), for all epochs of ``config``.

    Args:
        tables: may go on after ``until``; :func:`assets.training.past.before_cutoff` takes that away first.
        settings: ``training.seed`` and ``training.device`` count.
        since: None to train on everything before ``until``.

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
    return Retrained(fitted.net, ready.encodings, config, since, until)
