"""Evidently snapshots of named numbers: what a window or a partition measured, with tests at stated thresholds.

Nothing but the numbers is kept in a snapshot: no data, no histograms. Importing this module takes seconds (Evidently).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context
from evidently.legacy.renderers.html_widgets import CounterData, counter
from evidently.legacy.utils import NumpyEncoder
from evidently.tests import gte, lt, lte

METRIC: Final = "evidently:metric_v2:ThawNumber"
"""Type of every number in a snapshot; panels choose by its fields ``name`` and ``of``."""

TESTS: Final = {"below": lt, "at most": lte, "at least": gte}


@dataclass(frozen=True)
class Scalar:
    """One number of a snapshot.

    Attributes:
        name: what it is.
        value: finite.
        of: model, slice or column that it is of; may be empty.
        test: one of :data:`TESTS` with ``threshold``, or ``None``.
        threshold: what the value is tested against.
    """

    name: str
    value: float
    of: str = ""
    test: str | None = None
    threshold: float = 0.0


@dataclass(frozen=True)
class Moment:
    """What one snapshot is about.

    Attributes:
        kind: ``window`` or ``partition``; the snapshot's tag.
        name: of the window or partition.
        at: its beginning, event time, UTC.
        scalars: at least one.
    """

    kind: str
    name: str
    at: datetime
    scalars: Sequence[Scalar]


class ThawNumber(SingleValueMetric):
    """A number that was measured elsewhere."""

    class Config:
        """Evidently's name of the type."""

        type_alias = METRIC

    name: str
    of: str


class ThawNumberCalculation(SingleValueCalculation[ThawNumber]):
    """Reads the number from its column."""

    def calculate(
        self,
        context: Context,  # noqa: ARG002 - Evidently's signature
        current_data: Dataset,
        reference_data: Dataset | None,  # noqa: ARG002
    ) -> tuple[SingleValue, None]:
        """The number, and a counter that shows it."""
        column = _column(self.metric.name, self.metric.of)
        result = self.result(float(current_data.column(column).data.iloc[0]))
        shown = CounterData(label=self.display_name(), value=f"{result.value:.4g}")
        result.widget = [counter(counters=[shown])]
        return result, None

    def display_name(self) -> str:
        """Name, and what it is of."""
        return f"{self.metric.name} ({self.metric.of})" if self.metric.of else self.metric.name


def snapshot_json(moment: Moment) -> str:
    """The snapshot as Evidently's workspaces hold it."""
    columns = [_column(scalar.name, scalar.of) for scalar in moment.scalars]
    frame = pd.DataFrame([[scalar.value for scalar in moment.scalars]], columns=columns)
    metrics = [ThawNumber(name=scalar.name, of=scalar.of, tests=_tests(scalar)) for scalar in moment.scalars]
    data = Dataset.from_pandas(frame, data_definition=DataDefinition(numerical_columns=columns))
    named = {"kind": moment.kind, "name": moment.name}
    run = Report(metrics).run(
        data,
        None,
        timestamp=moment.at,
        name=f"{moment.kind} {moment.name}",
        tags=[moment.kind],
        metadata=named,
    )
    return json.dumps(run.to_snapshot_model().dict(), cls=NumpyEncoder)


def _column(name: str, of: str) -> str:
    return f"{name}|{of}"


def _tests(scalar: Scalar) -> list[Any]:
    return [] if scalar.test is None else [TESTS[scalar.test](scalar.threshold)]
