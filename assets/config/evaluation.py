"""Evaluation and studies of frozen weights."""

from collections.abc import Hashable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from assets.config.base import StrictModel
from assets.schema import ItemEmbeddings, UserHistory


class Protocol(StrictModel):
    """One way to evaluate frozen weights."""

    user_history: UserHistory = UserHistory.ROLLING
    item_embeddings: ItemEmbeddings = ItemEmbeddings.REFRESHED


Value = TypeVar("Value", bound=Hashable)


def _each_once(what: str) -> AfterValidator:
    """Refuses a list that is empty or names something twice; ``what`` it lists, in words."""

    def checked(values: tuple[Value, ...]) -> tuple[Value, ...]:
        if not values:
            raise ValueError(f"lists no {what}")
        if len(set(values)) != len(values):
            raise ValueError(f"lists one {what} twice")
        return values

    return AfterValidator(checked)


Cuts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], _each_once("k")]
"""Cut-offs k of the rankings that are measured."""

Protocols = Annotated[tuple[Protocol, ...], _each_once("protocol")]
"""What cases are ranked under; under one that stood there twice they would count twice."""


class EvaluationConfig(StrictModel):
    """Full-ranking evaluation."""

    protocols: Protocols = (
        Protocol(),
        Protocol(user_history=UserHistory.FROZEN, item_embeddings=ItemEmbeddings.FROZEN),
    )
    ks: Cuts = (5, 10, 20, 50)
    max_cases: int = Field(
        60_000, ge=1, description="test cases every model is ranked on; of more, so many are drawn, the same for all"
    )
    bootstrap_samples: int = Field(500, ge=2)
    smoothing: float = Field(0.02, gt=0, description="added to every item's (decayed) count, so that logs are finite")
    min_cases: int = Field(100, ge=1, description="results with fewer cases are flagged")

    @property
    def headline(self) -> Protocol:
        """The protocol that leaderboards show: the first one."""
        return self.protocols[0]


class SampledConfig(StrictModel):
    """Ranking among sampled negatives, for comparison with published tables."""

    negatives: int = Field(100, ge=1, description="drawn per case")
    seed: int = Field(0, description="of the draws; every model and training seed meets the same negatives")
    ks: Cuts = (10, 50)
    protocols: Protocols = (
        Protocol(),
        Protocol(user_history=UserHistory.FROZEN),
        Protocol(user_history=UserHistory.FROZEN, item_embeddings=ItemEmbeddings.FROZEN),
    )


class OnlineConfig(StrictModel):
    """Retraining before every frame of the test period (HRNN-meta paper, section 4.5 and Fig. 5)."""

    model: str = Field("hrnn_meta", description="the net that is retrained")
    window_days: float = Field(
        70, gt=0, description="engagements so long before a frame are trained on: ten frames of a week, as the paper's"
    )
    epochs: int = Field(5, ge=1, description="of every training, at the cutoff and before each frame; as the paper's")


class StudiesConfig(StrictModel):
    """Studies of test windows (``thaw studies``)."""

    max_cases: int = Field(
        20_000, ge=1, description="test cases that a variant is ranked on; of more, so many are drawn, the same for all"
    )
    online: OnlineConfig = OnlineConfig()
