"""Whether a challenger takes the champion's place: decided on what a contest measured, and nothing else. Pure."""

import math
from dataclasses import dataclass
from typing import Literal

from assets.config import RetrainingConfig
from assets.evaluation.compare import Difference

Outcome = Literal["challenger wins", "champion stays", "too few cases", "not comparable"]


@dataclass(frozen=True)
class Verdict:
    """What a contest came to.

    Attributes:
        outcome: in two or three words.
        reason: with the numbers.
    """

    outcome: Outcome
    reason: str

    @property
    def promoted(self) -> bool:
        """Whether the challenger is to serve."""
        return self.outcome == "challenger wins"


def not_comparable(trained_until: str, starts_at: str) -> Verdict:
    """The champion learned from engagements that the two would be compared on."""
    return Verdict(
        "not comparable",
        f"the champion was trained on engagements until {trained_until}, after the window began at {starts_at}: wait"
        " for newer engagements, or set a shorter retraining.window_days",
    )


def judge(difference: Difference | None, cases: int, config: RetrainingConfig) -> Verdict:
    """The challenger wins if it is better outside the interval, on cases enough.

    Args:
        difference: challenger minus champion, the same cases; ``None`` where there was none to compare on.
        cases: that it rests on: those of users with some history.
    """
    if difference is None or cases < config.min_cases:
        return Verdict("too few cases", f"{cases:,} cases, wanted are {config.min_cases:,} (retraining.min_cases)")
    numbers = (difference.value, difference.ci_low, difference.ci_high)
    told = f"{difference.value:+.4f} [{difference.ci_low:+.4f}, {difference.ci_high:+.4f}] ndcg@10 over {cases:,} cases"
    if not all(map(math.isfinite, numbers)):
        return Verdict("champion stays", f"the difference is not finite: {told}")
    if difference.ci_low > 0:
        return Verdict("challenger wins", f"the challenger is better: {told}")
    if difference.ci_high < 0:
        return Verdict("champion stays", f"the challenger is worse: {told}")
    return Verdict("champion stays", f"the challenger is not better outside the interval: {told}")
