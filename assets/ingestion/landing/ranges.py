"""One run takes one range of partitions. Pure.

Dagster orders dynamic partitions as they were added, not as they are named, so a range may hold partitions that nobody
asked for: they do nothing in the run, but each is written into its log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from assets.ingestion.landing.places import ClaimedFile
from assets.ingestion.landing.planning import Attempts, Cursor, Plan


@dataclass(frozen=True)
class Range:
    """Partitions of one run.

    Attributes:
        start, end: first and last partition in Dagster's order.
        added: partitions that Dagster does not know yet, in order.
    """

    start: str
    end: str
    added: tuple[str, ...]


def one_range(
    plan: Plan, before: Cursor, stored: Sequence[str], claimed: Mapping[str, Sequence[ClaimedFile]], limit: int
) -> tuple[Plan, Range]:
    """Keep of a plan's partitions those within ``limit`` places of Dagster's order, around the longest waiting file.

    The others are as if they had not been chosen: they wait for the next run.

    Args:
        plan: with at least one partition.
        before: the cursor it was made from.
        stored: partitions that Dagster knows, in its order.
    """
    missing = [name for name in plan.partitions if name not in set(stored)]
    place = {name: at for at, name in enumerate([*stored, *missing])}
    longest = min(plan.partitions, key=lambda name: claimed[name][0].seen_at)
    groups = _near(sorted(plan.partitions, key=place.__getitem__), place, limit)
    kept = next(group for group in groups if longest in group)
    cursor = replace(plan.cursor, requested=tuple(kept), attempts=_attempts(plan, before, kept))
    files = sum(len(claimed[name]) for name in kept)
    reason = f"{files} files of {len(kept)} partitions, {min(kept)} to {max(kept)}"
    added = tuple(name for name in kept if name in set(missing))
    return replace(plan, partitions=tuple(kept), cursor=cursor, reason=reason), Range(kept[0], kept[-1], added)


def _near(names: Sequence[str], place: Mapping[str, int], limit: int) -> list[list[str]]:
    """Ordered names in groups of which each spans at most ``limit`` places."""
    groups: list[list[str]] = []
    for name in names:
        if groups and place[name] - place[groups[-1][0]] < limit:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _attempts(plan: Plan, before: Cursor, kept: Sequence[str]) -> dict[str, Attempts]:
    """The plan's attempts, without the ones it counted for partitions that were not kept."""
    attempts = dict(plan.cursor.attempts)
    for name in set(plan.partitions) - set(kept):
        del attempts[name]
        if name in before.attempts:
            attempts[name] = before.attempts[name]
    return attempts
