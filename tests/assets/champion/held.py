"""A challenger of the tiny served dataset, and contests with a difference of one's own choice."""

from typing import Any

import pytest

from assets.champion import contest
from assets.champion.contest import Contest, hold_contest
from assets.config import RetrainingConfig
from assets.evaluation.compare import Difference
from tests.assets.serving.live.conftest import Live

BETTER = Difference(0.1, 0.05, 0.15)
LEVEL = Difference(0.01, -0.05, 0.07)


def with_retraining(live: Live, **values: Any) -> Live:
    """Settings under which the last two to three days are the newest window, and any number of cases will do."""
    config = RetrainingConfig(**{"window_days": 2, "min_cases": 1} | values)
    evaluation = live.settings.evaluation.model_copy(update={"bootstrap_samples": 20})
    live.settings = live.settings.model_copy(update={"retraining": config, "evaluation": evaluation})
    return live


def held(live: Live, monkeypatch: pytest.MonkeyPatch, found: Difference = BETTER) -> Contest:
    """A contest in which every difference is ``found``."""
    with monkeypatch.context() as patched:
        patched.setattr(contest, "difference", lambda *_: found)
        return hold_contest(live.storage, live.settings, live.later())
