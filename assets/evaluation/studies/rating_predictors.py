"""Who predicts ratings in the study: averages, matrix factorization, and recurrent nets without and with feedback."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assets.config import Settings
from assets.evaluation.studies.rating_baselines import (
    FACTORIZATION,
    ITEM_SHRINKAGE,
    USER_SHRINKAGE,
    factorization_daily,
    factorization_frozen,
    rolling_average,
    rolling_biases,
)
from assets.evaluation.studies.rating_cases import (
    NEGATIVE_RMSE,
    RMSE,
    RatingCases,
    RatingValidator,
    net_predictions,
    rating_cases,
)
from assets.metrics import Floats
from assets.stream import DatasetTables
from assets.training.checkpoints import recommender_of
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset
from assets.training.recommender import NetRecommender
from assets.training.train import train_net
from models.context import FeedbackConfig, SessionConfig
from models.items import IdItemsConfig
from models.net import RetrievalConfig
from models.recurrent import RecurrentUsersConfig

FIT: Final[Mapping[str, Any]] = {"learning_rate": 5e-4, "batch_size": 256, "max_epochs": 15, "patience": 3}
TOWER: Final[Mapping[str, Any]] = {"hidden": 128, "dropout": 0.4}
"""How the nets are fitted, and what their towers share; chosen on the validation tail of MovieLens-100K, by RMSE."""


def rating_net(session: SessionConfig | None = None, feedback: FeedbackConfig | None = None) -> FitPreset:
    """A net over item ids that predicts values."""
    users = RecurrentUsersConfig(session=session, feedback=feedback, **TOWER)
    return FitPreset(net=RetrievalConfig(items=IdItemsConfig(), users=users, loss="squared_error"), **FIT)


NETS: Final[Mapping[str, FitPreset]] = {
    "gru": rating_net(),
    "gru, feedback": rating_net(feedback=FeedbackConfig()),
    "hrnn, feedback": rating_net(session=SessionConfig(), feedback=FeedbackConfig()),
}


@dataclass(frozen=True)
class Task:
    """What is to be predicted, and what may be learned from.

    Attributes:
        tables: all of them; a predictor reads nothing of a case's instant or later.
        held: the cases.
        settings: for one seed.
    """

    tables: DatasetTables
    held: RatingCases
    settings: Settings


@dataclass(frozen=True)
class Prediction:
    """[C] predicted values, and ``seconds``, ``epochs`` and the like of their making."""

    predicted: Floats
    measured: Mapping[str, float]


@dataclass(frozen=True)
class Predictor:
    """One row of the study's table.

    Attributes:
        name: unique.
        config: JSON values that its numbers rest on, beside tables, split and seed.
        draws: whether a seed changes anything.
        predict: makes the predictions.
    """

    name: str
    config: Mapping[str, Any]
    draws: bool
    predict: Callable[[Task], Prediction]


def predictors(settings: Settings) -> list[Predictor]:
    """All of them, in the order of the table."""
    return [
        _baseline("rolling average", {}, False, lambda task: rolling_average(task.tables.stream, task.held.cases)),
        _baseline(
            "rolling biases",
            {"of_item": ITEM_SHRINKAGE, "of_user": USER_SHRINKAGE},
            False,
            lambda task: rolling_biases(task.tables.stream, task.held.cases),
        ),
        _baseline("matrix factorization", FACTORIZATION, True, _frozen),
        _baseline("matrix factorization, daily", FACTORIZATION, True, _daily),
        *(_net(name, config, settings) for name, config in NETS.items()),
    ]


def _frozen(task: Task) -> Floats:
    return factorization_frozen(task.tables.stream, task.held, task.tables.cutoff, task.settings.training.seed)


def _daily(task: Task) -> Floats:
    return factorization_daily(task.tables.stream, task.held, task.settings.training.seed)


def _baseline(name: str, config: Mapping[str, Any], draws: bool, values: Callable[[Task], Floats]) -> Predictor:
    def predict(task: Task) -> Prediction:
        started = time.perf_counter()
        return Prediction(values(task), {"seconds": time.perf_counter() - started})

    return Predictor(name, config, draws, predict)


def _net(name: str, default: FitPreset, settings: Settings) -> Predictor:
    wanted = settings.training.max_epochs
    config = default if wanted is None else default.model_copy(update={"max_epochs": wanted})
    return Predictor(name, config.model_dump(mode="json"), True, lambda task: predict_by_net(name, config, task))


def predict_by_net(name: str, config: FitPreset, task: Task) -> Prediction:
    """Train in both phases, epochs chosen by the RMSE on the validation tail, and predict the cases.

    Raises:
        ValueError: when the validation tail has nothing to predict.
        FloatingPointError: when training diverges.
    """
    past = before_cutoff(task.tables)
    check = RatingValidator(rating_cases(past.stream, past.validation_start), past.stream)
    trained = train_net(name, config, past, check, NEGATIVE_RMSE, task.settings)
    model = recommender_of(trained, task.tables)
    assert isinstance(model, NetRecommender), "a net was trained"
    values = net_predictions(model, task.held.cases, task.tables.stream)
    return Prediction(
        values,
        {
            "seconds": sum(phase.wall for phase in trained.spent.values()),
            "epochs": len(trained.history["fit"]),
            "best_epoch": trained.best_epoch,
            "parameters": sum(weight.numel() for weight in model.net.parameters()),
            f"validation_{RMSE}": trained.metrics["validation"][RMSE],
        },
    )
