"""What steps import when they begin, and what looks at a home: imported once, by the server of children."""

import evidently
import faiss
import great_expectations
import lightning
import matplotlib.pyplot

from assets.monitoring.evidently import workspace
from assets.training import train
from orchestration import runner, summary
from tests.faults import clocks, damages, freshness, state, unmaking

__all__ = [
    "clocks",
    "damages",
    "evidently",
    "faiss",
    "freshness",
    "great_expectations",
    "lightning",
    "matplotlib",
    "runner",
    "state",
    "summary",
    "train",
    "unmaking",
    "workspace",
]
