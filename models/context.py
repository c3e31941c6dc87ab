"""What a recurrent net reads at a step beside the item: HRNN-meta (Ma et al., KDD 2020, section 2.2).

A step stands between two events: it has read the event before it and knows when the next one, or the request, comes.
So its inputs describe both the feedback that the previous item got, and the moment that is to be predicted for.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import NetConfig, Sizes, UserInputs
from models.layers import FieldMLP, embedding

SECOND = 1_000_000
HOUR = 3600 * SECOND
HOURS_OF_DAY, DAYS_OF_WEEK = 24, 7
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""


@dataclass(frozen=True)
class Steps:
    """Steps of several users, one after another in time: all first steps, all second ones, and so on.

    Step 0 of a user has read nothing; step s has read the first s entries of the history. Users are in order of their
    number of steps, the most first, so that those still going at a step are the first ones: torch's packed layout,
    without padding.

    Attributes:
        users: [B] whose steps these are.
        owner: [S] row of ``users`` of each step.
        slot: [S] entries that the step has read.
        counts: [L + 1] users still going at each slot, on the CPU.
        starts: [L + 2] where each slot's steps start, on the CPU.
        place: [B] position of each user among those of a slot.
    """

    users: UserInputs
    owner: Tensor
    slot: Tensor
    counts: Tensor
    starts: Tensor
    place: Tensor

    @classmethod
    def build(cls, users: UserInputs) -> "Steps":
        """The steps of every user [B]: one more than the history has entries."""
        number, order = users.lengths.add(1).sort(descending=True, stable=True)  # [B]
        slots = torch.arange(int(number.max()) if len(number) else 0, device=number.device)
        counts = (number[None, :] > slots[:, None]).sum(dim=1)  # [L + 1]
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])  # [L + 2]
        slot = torch.repeat_interleave(slots, counts)  # [S]
        owner = order[torch.arange(len(slot), device=slot.device) - starts[slot]]
        return cls(users, owner, slot, counts.cpu(), starts.cpu(), order.argsort())

    def __len__(self) -> int:
        return len(self.owner)

    def inside(self, first: int, last: int) -> slice:
        """Where the steps of slots ``first`` .. ``last - 1`` lie."""
        return slice(int(self.starts[first]), int(self.starts[last]))

    def between(self, first: int, last: int) -> "Steps":
        """The steps of slots ``first`` .. ``last - 1`` alone; what is made of them has these rows."""
        inside = self.inside(first, last)
        return replace(self, owner=self.owner[inside], slot=self.slot[inside])

    def at(self, rows: Tensor, slots: Tensor) -> Tensor:
        """[T] steps of users ``rows`` [T] that have read ``slots`` [T] entries."""
        return self.starts.to(slots.device)[slots] + self.place[rows]

    @property
    def first(self) -> Tensor:
        """[S] whether the step has read nothing."""
        return self.slot == 0

    def previous(self, values: Tensor) -> Tensor:
        """[S] of ``values`` [B, L] per entry: that of the latest entry read; of first steps whatever is there."""
        if not values.shape[1]:
            return values.new_zeros(len(self))
        return values[self.owner, (self.slot - 1).clamp(min=0)]

    def until_next(self) -> Tensor:
        """[S] int64 microseconds from the latest entry read to the next, or to the request; 0 at first steps.

        A request before the latest entry, as clocks that differ may give it, is one at that entry.
        """
        before = self.users.times[self.owner, (self.slot - 1).clamp(min=0)]
        return (self.users.times[self.owner, self.slot] - before).clamp(min=0)

    def since_last(self) -> Tensor:
        """[S] int64 microseconds between the latest two entries read; 0 where fewer were."""
        times = self.users.times
        return times[self.owner, (self.slot - 1).clamp(min=0)] - times[self.owner, (self.slot - 2).clamp(min=0)]

    def breaks(self, gap_minutes: float) -> Tensor:
        """[S] whether what comes next starts a session: nothing was read yet, or ``gap_minutes`` ago or earlier."""
        return self.first | (self.until_next() >= round(gap_minutes * 60 * SECOND))


class TimeEncoding(nn.Module):
    """A time-delta as a learned vector, linear between powers of two of seconds; a missing one has a vector of its own.

    log2(1 + seconds) reaches 30 at 34 years; longer is as long.
    """

    LEVELS = 31

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.table = embedding(self.LEVELS + 1, dim, std=0.5)

    def forward(self, deltas: Tensor, missing: Tensor) -> Tensor:
        """[S, d] for int64 microseconds [S]; ``missing`` [S] bool."""
        level = torch.log2(1 + deltas.double() / SECOND).clamp(max=self.LEVELS - 1).to(self.table.weight.dtype)  # [S]
        low = level.floor().clamp(max=self.LEVELS - 2)
        share = (level - low)[:, None]  # [S, 1]
        rows = torch.where(missing, self.LEVELS, low.long())
        above = torch.where(missing, self.LEVELS, low.long() + 1)
        return torch.lerp(self.table(rows), self.table(above), share)


class ContextPart(nn.Module, ABC):
    """[S, width] inputs of steps.

    Attributes:
        width: columns.
    """

    width: int

    @abstractmethod
    def forward(self, steps: Steps) -> Tensor:
        """[S, width], finite whatever is missing."""


class SessionConfig(NetConfig):
    """Session-start control bit and encoded time-deltas (section 2.2, Fig. 2)."""

    dim: int = Field(8, ge=1, description="width of one encoded time-delta")


class SessionPart(ContextPart):
    """[starts a session ; time until the next event or the request ; time between the latest two events]."""

    def __init__(self, config: SessionConfig, gap_minutes: float) -> None:
        super().__init__()
        self.gap_minutes = gap_minutes
        self.until = TimeEncoding(config.dim)
        self.since = TimeEncoding(config.dim)
        self.width = 1 + 2 * config.dim

    def forward(self, steps: Steps) -> Tensor:
        bit = steps.breaks(self.gap_minutes).float()[:, None]
        until = self.until(steps.until_next(), steps.first)
        return torch.cat([bit, until, self.since(steps.since_last(), steps.slot < 2)], dim=1)


class FieldsConfig(NetConfig):
    """A field-aware MLP over categorical features."""

    dim: int = Field(16, ge=1, description="width of what is added to a step's inputs")
    feature_dim: int = Field(16, ge=1, description="width of one field's embedding")
    hidden: int = Field(32, ge=1, description="width of a field's hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="behind a field's hidden layer")

    def build(self, rows: dict[str, int]) -> FieldMLP:
        """The network for fields with so many values."""
        return FieldMLP(rows, self.feature_dim, self.hidden, self.dim, self.dropout)


class ProfilePart(ContextPart):
    """User features (age, occupation …), the same at each of a user's steps."""

    def __init__(self, config: FieldsConfig, sizes: Sizes) -> None:
        super().__init__()
        self.fields = config.build(dict(sizes.user_features))
        self.width = config.dim

    def forward(self, steps: Steps) -> Tensor:
        users = steps.users
        return self.fields(users.features, len(users)).index_select(0, steps.owner)


class RequestPart(ContextPart):
    """User-dynamic features of the request that a step answers: its hour of the day and its day of the week, UTC.

    The paper's examples, device and language, are in none of our tables; the moment is in all of them.
    """

    def __init__(self, config: FieldsConfig) -> None:
        super().__init__()
        self.fields = config.build({"hour": HOURS_OF_DAY, "weekday": DAYS_OF_WEEK})
        self.width = config.dim

    def forward(self, steps: Steps) -> Tensor:
        hours = steps.users.times[steps.owner, steps.slot].div(HOUR, rounding_mode="floor")  # [S]
        weekday = (hours.div(HOURS_OF_DAY, rounding_mode="floor") + EPOCH_WEEKDAY) % DAYS_OF_WEEK
        return self.fields({"hour": (hours % HOURS_OF_DAY)[:, None], "weekday": weekday[:, None]}, len(steps))


class FeedbackConfig(NetConfig):
    """Feedback encoding of the previous event (section 2.2)."""

    kind: Literal["feedback"] = "feedback"
    dim: int = Field(4, ge=1, description="width of an event type's embedding")


class FeedbackPart(ContextPart):
    """[standardized value ; its absence ; event type] of the latest event.

    Values are standardized within their event type, so that a rating of a "rating" and the seconds of a "view", its
    dwell time, are both read in their own units. A type whose values never vary is one whose value says nothing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: FeedbackConfig, sizes: Sizes) -> None:
        super().__init__()
        self.events = embedding(sizes.event_types, config.dim)
        self.register_buffer("mean", torch.zeros(sizes.event_types))
        self.register_buffer("std", torch.ones(sizes.event_types))
        self.width = 2 + config.dim

    def fit_scales(self, values: Tensor, events: Tensor) -> None:
        """See :meth:`models.base.Net.fit_scales`; event types without a known value take the scale of all values."""
        self.mean, self.std = value_scales(values, events, len(self.mean))

    def forward(self, steps: Steps) -> Tensor:
        values, events = steps.previous(steps.users.values), steps.previous(steps.users.events).long().clamp(min=0)
        missing = steps.first | values.isnan()
        scaled = ((values - self.mean[events]) / self.std[events]).masked_fill(missing, 0.0)
        kind = self.events(events).masked_fill(steps.first[:, None], 0.0)
        return torch.cat([torch.stack([scaled, missing.float()], dim=1), kind], dim=1)


def value_scales(values: Tensor, events: Tensor, types: int) -> tuple[Tensor, Tensor]:
    """[V] mean and [V] standard deviation (1 where it is 0) of the known values of each event type.

    A type without any takes those of all values; where there are none at all, 0 and 1.

    Args:
        values: [E], NaN where unknown.
        events: [E] dense ids.
        types: V.
    """
    known = ~values.isnan()
    value, event = values[known].double(), events[known]
    count = torch.bincount(event, minlength=types).double()
    mean = torch.bincount(event, value, types) / count
    std = (torch.bincount(event, (value - mean[event]).square(), types) / count).sqrt()
    overall = value.mean() if len(value) else torch.zeros((), dtype=torch.float64)
    spread = value.std(correction=0) if len(value) else torch.ones((), dtype=torch.float64)
    mean, std = mean.where(count > 0, overall), std.where(count > 0, spread)
    return mean.float(), std.where(std > 0, 1.0).float()
