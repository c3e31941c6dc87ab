"""Recurrent user towers of HRNN-meta (Ma et al., KDD 2020, section 2): GRU, HRNN and HGRU.

Inputs of a step: the vector of the latest item, as the item tower serves it, and what :mod:`models.context` adds. The
state after a step, projected, is the user vector of whoever has read so much; it ends with a constant 1, against which
an item's vector has its bias b_j (eq. 2).

``gru`` reads items alone. ``hrnn`` reads the session-start bit and time-deltas too, and learns itself when to reset.
``hgru`` has the two levels of Fig. 2: one cell within sessions, one that a session's end updates.

Departures from the paper, with reasons: an item's input is its output vector (tied weights), so that items which came
after training are read like any other, from the index; step 0 reads a learned start vector, so that a user's first
event is a target too.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from models.base import NetConfig, Sizes, UserInputs
from models.context import (
    ContextPart,
    FeedbackConfig,
    FeedbackPart,
    FieldsConfig,
    ProfilePart,
    RequestPart,
    SessionConfig,
    SessionPart,
    Steps,
)
from models.gru import ragged_gru
from models.sequence import UserTower
from models.work import reads_divided


class GruCellConfig(NetConfig):
    """One GRU over all events."""

    kind: Literal["gru"] = "gru"


class HierarchicalCellConfig(NetConfig):
    """Two levels: within sessions, and between them."""

    kind: Literal["hierarchical"] = "hierarchical"


CellConfig = Annotated[GruCellConfig | HierarchicalCellConfig, Field(discriminator="kind")]


class RecurrentUsersConfig(NetConfig):
    """Hyper-parameters of :class:`RecurrentUsers`; a part that is ``None`` is not read."""

    kind: Literal["recurrent"] = "recurrent"
    cell: CellConfig = GruCellConfig()
    hidden: int = Field(64, ge=1, description="width of the state")
    history_length: int = Field(100, ge=1, description="latest engagements that are read")
    bptt: int = Field(50, ge=1, description="steps that a gradient passes back through, at most")
    session_gap_minutes: float = Field(60.0, gt=0, description="a pause this long, or longer, ends a session")
    session: SessionConfig | None = Field(None, description="session-start bit and time-deltas")
    profile: FieldsConfig | None = Field(None, description="user features")
    request: FieldsConfig | None = Field(None, description="features of the request")
    feedback: FeedbackConfig | None = Field(None, description="value and type of the previous event")
    dropout: float = Field(0.2, ge=0, lt=1, description="of item inputs and of states")


class Cell(nn.Module, ABC):
    """A recurrence over steps in the layout of :class:`models.context.Steps`."""

    @abstractmethod
    def begin(self, users: int) -> Tensor:
        """[users, W] the state before step 0."""

    @abstractmethod
    def forward(self, x: Tensor, breaks: Tensor, counts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run over consecutive slots.

        Args:
            x: [S, I] inputs, slot after slot.
            breaks: [S] whether what comes behind a step starts a session.
            counts: [n] users at each slot, not ascending, on the CPU.
            state: [counts[0], W] before the first of these slots.

        Returns:
            [S, H] outputs, and [counts[0], W] each user's state after its last step here.
        """


class GruCell(Cell):
    """torch's GRU, by its own kernels on an accelerator, and by :func:`models.gru.ragged_gru` on the CPU."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gru = nn.GRU(inputs, hidden)

    def begin(self, users: int) -> Tensor:
        return next(self.gru.parameters()).new_zeros(users, self.hidden)

    def forward(self, x: Tensor, breaks: Tensor, counts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        del breaks  # where they matter they are among the inputs
        if x.is_cpu:
            out = self.on_cpu(x, counts.tolist(), state)
            return out, last_states(out.detach(), counts)
        packed, last = self.gru(PackedSequence(x, counts), state[None])
        return packed.data, last[0]

    def on_cpu(self, x: Tensor, counts: list[int], state: Tensor) -> Tensor:
        """[S, H] outputs."""
        weight, recurrent, bias, recurrent_bias = self.gru.parameters()
        return ragged_gru(functional.linear(x, weight, bias), recurrent, recurrent_bias, state, counts)


def last_states(outputs: Tensor, counts: Tensor) -> Tensor:
    """[counts[0], H] each user's output at its last slot of outputs [S, H], slot after slot."""
    starts = counts.cumsum(0) - counts  # [n]
    users = torch.arange(int(counts[0]))
    slots = (counts[None, :] > users[:, None]).sum(dim=1) - 1  # [counts[0]]
    return outputs[starts[slots] + users]


class HierarchicalCell(Cell):
    """HGRU (Quadrana et al., RecSys 2017) as section 2.2 of HRNN-meta reproduces it, with the re-run of Fig. 2.

    Per step, with h the state within the session and s the state between sessions:

        h <- GRU_intra(x, h)
        where a session ends:  s <- GRU_inter(h, s),  h <- GRU_intra(x, tanh(W s + b))

    The last line is the paper's modification: the intra-session cell runs again from the new session's initial state,
    so that the first event of a session is predicted from both levels.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.intra = nn.GRUCell(inputs, hidden)
        self.inter = nn.GRUCell(hidden, hidden)
        self.initial = nn.Linear(hidden, hidden)

    def begin(self, users: int) -> Tensor:
        return self.initial.weight.new_zeros(users, 2 * self.hidden)  # [h ; s]

    def forward(self, x: Tensor, breaks: Tensor, counts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        outputs, finished, at = [], [], 0
        for count in counts.tolist():
            finished.append(state[count:])  # users without a step here keep their state
            state = self.step(x[at : at + count], breaks[at : at + count], state[:count])
            outputs.append(state[:, : self.hidden])
            at += count
        return torch.cat(outputs), torch.cat([state, *reversed(finished)])

    def step(self, x: Tensor, breaks: Tensor, state: Tensor) -> Tensor:
        """[n, 2 H] states after one step of inputs [n, I]."""
        h, s = state.split(self.hidden, dim=1)
        h = self.intra(x, h)
        ending = torch.nonzero(breaks)[:, 0]
        if not len(ending):
            return torch.cat([h, s], dim=1)
        between = self.inter(h[ending], s[ending])  # [e, H]
        again = self.intra(x[ending], torch.tanh(self.initial(between)))
        return torch.cat([h.index_copy(0, ending, again), s.index_copy(0, ending, between)], dim=1)


def build_cell(config: GruCellConfig | HierarchicalCellConfig, inputs: int, hidden: int) -> Cell:
    """The cell of a configuration."""
    return HierarchicalCell(inputs, hidden) if isinstance(config, HierarchicalCellConfig) else GruCell(inputs, hidden)


def build_parts(config: RecurrentUsersConfig, sizes: Sizes) -> list[ContextPart]:
    """What the tower reads beside items."""
    parts: list[ContextPart] = []
    if config.session is not None:
        parts.append(SessionPart(config.session, config.session_gap_minutes))
    if config.profile is not None:
        parts.append(ProfilePart(config.profile, sizes))
    if config.request is not None:
        parts.append(RequestPart(config.request))
    if config.feedback is not None:
        parts.append(FeedbackPart(config.feedback, sizes))
    return parts


class RecurrentUsers(UserTower):
    """[x ; 1] from the state after a step.

    Truncated BPTT: steps run in chunks of ``bptt`` slots; the state passes from one to the next, no gradient does, and
    chunks that no target reads keep nothing for the backward pass. So a long history costs linear time and the memory
    of the chunks that are read. A part that reads a divided table is made of all steps at once, and kept for all.
    """

    def __init__(self, config: RecurrentUsersConfig, sizes: Sizes, dim: int, input_scale: float) -> None:
        super().__init__()
        self.config = config
        self.history_length = config.history_length
        self.input_scale = input_scale
        self.start = nn.Parameter(torch.zeros(dim))
        parts = build_parts(config, sizes)
        self.parts = nn.ModuleList(parts)
        self.cell = build_cell(config.cell, dim + sum(part.width for part in parts), config.hidden)
        self.project = nn.Linear(config.hidden, dim - 1)
        self.dropout = nn.Dropout(config.dropout)

    def fit_scales(self, values: Tensor, events: Tensor) -> None:
        """See :meth:`models.base.Net.fit_scales`."""
        for part in self.parts:
            if isinstance(part, FeedbackPart):
                part.fit_scales(values, events)

    def forward(self, users: UserInputs, items: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        assert users.history.shape[1] <= self.history_length, f"{users.history.shape[1]} > {self.history_length}"
        if not len(rows):
            return items.new_zeros(0, items.shape[1])
        tokens = torch.cat([items * self.input_scale, self.start[None]])  # [M + 1, D]
        read = self.dropout(self.run(Steps.build(users), tokens, rows, positions))  # [T, H]
        return torch.cat([self.project(read), read.new_ones(len(read), 1)], dim=1)  # [T, D]

    def ahead(self, steps: Steps) -> dict[int, Tensor]:
        """[S, width] each: by their number, the parts that read divided tables, of every step.

        Processes have to read such a table equally often, forward and backward; how many chunks there are, and which of
        them are read, differs by their shares of the users.
        """
        return {number: part(steps) for number, part in enumerate(self.parts) if reads_divided(part)}

    def inputs(self, steps: Steps, tokens: Tensor, known: dict[int, Tensor]) -> Tensor:
        """[S, I] of every step: the latest item's of ``tokens`` [M + 1, D], of which the last begins, and the parts.

        Args:
            known: [S, width] each: parts by number that are not to be made again.
        """
        rows = steps.previous(steps.users.history).masked_fill(steps.first, len(tokens) - 1)
        own = self.dropout(tokens.index_select(0, rows))  # [S, D]
        parts = [known[number] if number in known else part(steps) for number, part in enumerate(self.parts)]
        return torch.cat([own, *parts], dim=1)

    def run(self, steps: Steps, tokens: Tensor, rows: Tensor, slots: Tensor) -> Tensor:
        """[T, H] outputs for users ``rows`` [T] behind ``slots`` [T] entries each."""
        wanted, chunk, ahead = steps.at(rows, slots), slots // self.config.bptt, self.ahead(steps)  # [T], [T]
        state, order, outputs = self.cell.begin(int(steps.counts[0])), [], []
        for number, first in enumerate(range(0, len(steps.counts), self.config.bptt)):
            counts = steps.counts[first : first + self.config.bptt]
            part, inside = steps.between(first, first + len(counts)), steps.inside(first, first + len(counts))
            read = torch.nonzero(chunk == number)[:, 0]
            with torch.set_grad_enabled(torch.is_grad_enabled() and len(read) > 0):
                x = self.inputs(part, tokens, {each: values[inside] for each, values in ahead.items()})
                breaks = part.breaks(self.config.session_gap_minutes)
                out, state = self.cell(x, breaks, counts, state[: int(counts[0])].detach())
            order.append(read)
            outputs.append(out.index_select(0, wanted[read] - int(steps.starts[first])))
        return torch.cat(outputs).index_select(0, torch.cat(order).argsort())
