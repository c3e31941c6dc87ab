"""What both sides of :mod:`benchmarks.peers.compare` took and reached, as a table and in words."""

from dataclasses import dataclass
from typing import Any, Final

from tabulate import tabulate

K: Final = 10


@dataclass(frozen=True)
class Side:
    """One training.

    Attributes:
        predicted: engagements per epoch.
        epochs: that were trained, and so many of them until the best.
        wall, cpu: seconds of all of them.
        peak_mib: of the process.
        ndcg: of the ranked cases.
    """

    name: str
    predicted: float
    epochs: int
    wall: float
    cpu: float
    peak_mib: float
    ndcg: float

    def row(self, dataset: str) -> list[Any]:
        total = self.predicted * self.epochs
        return [
            dataset,
            self.name,
            self.epochs,
            self.ndcg,
            total / self.wall,
            total / self.cpu,
            self.cpu,
            self.peak_mib,
        ]


HEADERS: Final = ("dataset", "", "epochs", f"NDCG@{K}", "engagements/s", "/CPU s", "CPU s to train", "peak MiB")


def verdict(dataset: str, ours: list[Side], shorter: list[Side], peers: list[Side]) -> str:
    """How much quicker ours trains: per engagement, and to the best quality of either side.

    Args:
        dataset: they were trained on.
        ours: trained as the preset says, one per round; the median by CPU seconds counts.
        shorter: ours with fewer epochs.
        peers: the peer after some epochs each; the best counts.
    """
    mine = sorted(ours, key=lambda side: side.cpu)[len(ours) // 2]
    best = max(peers, key=lambda side: side.ndcg)
    rate = (mine.predicted * mine.epochs / mine.cpu) / (best.predicted * best.epochs / best.cpu)
    parts = [
        f"{dataset}: {rate:.1f} times the engagements per CPU second",
        f"NDCG@{K} {mine.ndcg:.4f} against {best.ndcg:.4f}",
        reached("ours", [*shorter, *ours], best),
        reached("RecTools", peers, mine),
    ]
    return "; ".join(parts)


def reached(name: str, sides: list[Side], goal: Side) -> str:
    """When one of ``sides`` is as good as ``goal``, and its CPU seconds beside the goal's."""
    equal = [side for side in sides if side.ndcg >= goal.ndcg]
    if not equal:
        return f"{name} reaches {goal.ndcg:.4f} at no number of epochs tried"
    first = min(equal, key=lambda side: side.cpu)
    return f"{name} reaches {goal.ndcg:.4f} in {first.cpu:.1f} CPU s, {goal.name} in {goal.cpu:.1f}"


def sides_table(rows: list[list[Any]]) -> str:
    """Every training of both sides."""
    formats = ("", "", "", ".4f", ",.0f", ",.0f", ".1f", ",.0f")
    return str(tabulate(rows, HEADERS, floatfmt=formats, tablefmt="github"))
