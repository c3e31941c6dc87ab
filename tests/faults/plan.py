"""Which kills are tried: seeded, every step in turn.

This module, like :mod:`tests.faults.graph`, imports nothing heavy: tests only start children, which are forked from a
server that has everything imported.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BEFORE = "(before)"
"""The step's name of what comes before the first one: the instance, the plan, accounts."""


@dataclass(frozen=True)
class Stop:
    """The end of a process.

    Attributes:
        step: in which it ends, or right after which, where it passes fewer points.
        number: of the point within the step.
        seconds: into the step, instead of a point.
    """

    step: str
    number: int = 0
    seconds: float | None = None


def counted(labelled: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Step -> how many points it passes; steps that pass none are left out."""
    found: dict[str, int] = {}
    for step, _ in labelled:
        found[step] = found.get(step, 0) + 1
    return found


@dataclass(frozen=True)
class Kill:
    """One kill of the plan.

    Attributes:
        from_nothing: whether the home is empty before; else everything is there, and the step is made to run again.
        without_output: whether what the step had written is removed first.
    """

    seed: int
    stop: Stop
    from_nothing: bool
    without_output: bool

    def __str__(self) -> str:
        where = f"{self.stop.seconds:.2f} s" if self.stop.seconds is not None else f"point {self.stop.number}"
        home = "a first run" if self.from_nothing else "a step without its output" if self.without_output else "a rerun"
        return f"{self.seed}: {self.stop.step} at {where}, {home}"


def kills(number: int, points: Mapping[str, int], timed: Mapping[str, float]) -> list[Kill]:
    """Seeded kills: every step in turn, in an order of its own, then the next round of all.

    Args:
        points: step -> points of an undisturbed run.
        timed: steps whose work is a process of its own, with their seconds: every kill there is by the clock.
    """
    steps = sorted({*points, *timed})
    planned: list[Kill] = []
    for seed in range(number):
        round_, place = divmod(seed, len(steps))
        order = random.Random(f"round {round_}").sample(steps, len(steps))
        draw, step = random.Random(f"kill {seed}"), order[place]
        stop = Stop(step, draw.randrange(points.get(step, 1)))
        if step in timed:
            stop = Stop(step, seconds=draw.uniform(0, timed[step]))
        planned.append(Kill(seed, stop, draw.random() < 0.15 or step == BEFORE, draw.random() < 0.5))
    return planned
