"""What a recurrent tower reads at a step, against loops over users and instants."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from models.base import OOV, UserInputs
from models.context import (
    SECOND,
    FeedbackConfig,
    FeedbackPart,
    FieldsConfig,
    ProfilePart,
    RequestPart,
    SessionConfig,
    SessionPart,
    Steps,
    TimeEncoding,
    value_scales,
)
from tests.models.support import BARE, HOUR, MONDAY, SIZES, lists, user_inputs

MINUTE = 60 * SECOND
LENGTHS = ([3, 0, 5, 1, 5, 0, 2], [0, 0], [4], [1, 2, 3], [0, 7])
each_lengths = pytest.mark.parametrize("lengths", LENGTHS)


def of_lengths(lengths: list[int]) -> UserInputs:
    """Row r's history is r, r + 1, …; times grow apart, as :func:`tests.models.support.user_inputs` says."""
    return user_inputs([list(range(row, row + length)) for row, length in enumerate(lengths)])


def timed(*rows: list[int], values: list[list[float]] | None = None, events: Any = None) -> UserInputs:
    """Users by the instants of their entries and, last in a row, of their request; microseconds after Monday's start.

    What lies behind is an instant that nothing may read.
    """
    width = max(map(len, rows)) - 1
    histories = [[1] * (len(row) - 1) for row in rows]
    made = user_inputs(histories)
    behind = -7 * 10**17
    times = [[MONDAY + one for one in row] + [behind] * (width + 1 - len(row)) for row in rows]
    fields = {"times": torch.tensor(times)}
    if values is not None:
        rows_of_values = [row + [math.nan] * (width - len(row)) for row in values]
        fields["values"] = torch.tensor(rows_of_values).view(len(rows), width)
    if events is not None:
        fields["events"] = lists(events, width)
    return UserInputs(**{**made.__dict__, **fields})


def pairs(steps: Steps) -> list[tuple[int, int]]:
    """(user, entries read) of each step."""
    return list(zip(steps.owner.tolist(), steps.slot.tolist(), strict=True))


# Layout


@each_lengths
def test_steps_are_slot_after_slot_longest_users_first(lengths: list[int]) -> None:
    steps = Steps.build(of_lengths(lengths))
    longest_first = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    layers = [[row for row in longest_first if lengths[row] >= slot] for slot in range(max(lengths) + 1)]
    assert pairs(steps) == [(row, slot) for slot, layer in enumerate(layers) for row in layer]
    assert len(steps) == sum(lengths) + len(lengths)
    assert steps.counts.tolist() == [len(layer) for layer in layers]
    assert steps.starts.tolist() == [sum(map(len, layers[:slot])) for slot in range(len(layers) + 1)]
    assert steps.counts.device.type == steps.starts.device.type == "cpu"


@each_lengths
def test_a_step_is_found_by_its_user_and_slot(lengths: list[int]) -> None:
    steps = Steps.build(of_lengths(lengths))
    wanted = [(row, slot) for row, length in enumerate(lengths) for slot in range(length, -1, -1)]
    rows, slots = torch.tensor(wanted).T
    assert [pairs(steps)[at] for at in steps.at(rows, slots).tolist()] == wanted


@each_lengths
def test_steps_between_slots(lengths: list[int]) -> None:
    steps = Steps.build(of_lengths(lengths))
    for first in range(max(lengths) + 1):
        for last in range(first + 1, max(lengths) + 2):
            part = steps.between(first, last)
            assert pairs(part) == [pair for pair in pairs(steps) if first <= pair[1] < last]
            assert len(part) == len(pairs(part))
            assert part.first.tolist() == [slot == 0 for _, slot in pairs(part)]


def test_no_users_have_no_steps() -> None:
    steps = Steps.build(user_inputs([]))
    assert len(steps) == len(steps.counts) == 0


def test_previous_is_the_latest_entry_read() -> None:
    lengths = [3, 0, 5, 1]
    users = of_lengths(lengths)
    steps = Steps.build(users)
    found = steps.previous(users.history).tolist()
    read = [(one, row + slot - 1) for one, (row, slot) in zip(found, pairs(steps), strict=True) if slot > 0]
    assert len(read) == sum(lengths)
    assert all(one == expected for one, expected in read)


@pytest.mark.parametrize("field", ["history", "values", "events"])
def test_without_any_entry_there_is_no_previous(field: str) -> None:
    """Nothing to read from: zeros of the right kind, at steps that are all first ones."""
    users = user_inputs([[], []])
    steps = Steps.build(users)
    values = getattr(users, field)
    assert steps.first.all()
    assert torch.equal(steps.previous(values), values.new_zeros(2))


# Time


def slow_until(row: list[int], slot: int) -> int:
    return max(0, row[slot] - row[slot - 1]) if slot else 0


def slow_since(row: list[int], slot: int) -> int:
    return row[slot - 1] - row[slot - 2] if slot > 1 else 0


ROWS = ([0, 5, 5, 90, 1000], [3], [7, 7], [10, 20, 15], [2, 3 * HOUR, 40 * HOUR])
"""Two entries at one instant, no entry, a request at the entry's instant, and a request before the latest entry."""


def test_time_deltas_against_a_loop() -> None:
    steps = Steps.build(timed(*ROWS))
    assert steps.until_next().tolist() == [slow_until(ROWS[row], slot) for row, slot in pairs(steps)]
    assert steps.since_last().tolist() == [slow_since(ROWS[row], slot) for row, slot in pairs(steps)]


def test_deltas_of_centuries_are_exact() -> None:
    """Times in microseconds are beyond what float32, or 32 bits, can tell apart."""
    century = 100 * 365 * 24 * HOUR
    steps = Steps.build(timed([0, century, 2 * century + 1]))
    assert steps.until_next().tolist() == [0, century, century + 1]


@pytest.mark.parametrize(("minutes", "gap"), [(60.0, HOUR), (0.5, 30 * SECOND), (24 * 60.0, 24 * HOUR)])
def test_a_session_starts_at_exactly_the_gap(minutes: float, gap: int) -> None:
    """One microsecond less continues it, and so does any number of short pauses."""
    rows = [[0, gap - 1], [0, gap], [0, gap + 1], [0, gap // 2, gap, gap + gap // 2], [0]]
    steps = Steps.build(timed(*rows))
    found = dict(zip(pairs(steps), steps.breaks(minutes).tolist(), strict=True))
    assert [found[row, 1] for row in range(3)] == [False, True, True]
    assert [found[3, slot] for slot in (1, 2, 3)] == [False, False, False]
    assert all(found[row, 0] for row in range(len(rows)))  # nothing was read: all there is begins


def test_the_pause_that_counts_is_the_one_that_comes() -> None:
    """Two entries a day apart, then a request at once: the break stands at the step between the entries."""
    steps = Steps.build(timed([0, 24 * HOUR, 24 * HOUR + 1]))
    assert steps.breaks(60).tolist() == [True, True, False]


def slow_encoding(encoding: TimeEncoding, delta: int, missing: bool) -> torch.Tensor:
    """Between the rows of the powers of two of 1 + seconds on either side."""
    table = encoding.table.weight
    if missing:
        return table[31]
    level = min(math.log2(1 + delta / SECOND), 30.0)
    below = min(math.floor(level), 29)
    return table[below] + (level - below) * (table[below + 1] - table[below])


def encoding(dim: int = 3) -> TimeEncoding:
    torch.manual_seed(0)
    return TimeEncoding(dim)


DELTAS = (0, 1, 500_000, SECOND, 2 * SECOND, 3 * SECOND, MINUTE, HOUR, 24 * HOUR, 9000 * 24 * HOUR, 2**30 * SECOND)


def test_time_encoding_against_a_loop() -> None:
    net, deltas = encoding(), [*DELTAS, 2**31 * SECOND, 2**40 * SECOND, 17, HOUR]
    missing = [False] * (len(deltas) - 2) + [True] * 2
    expected = torch.stack([slow_encoding(net, one, out) for one, out in zip(deltas, missing, strict=True)])
    torch.testing.assert_close(net(torch.tensor(deltas), torch.tensor(missing)), expected, rtol=1e-5, atol=1e-6)


def test_a_delta_reads_the_two_levels_beside_it_and_no_other() -> None:
    """6 seconds lie between log2(4) and log2(8); 3 on level 2 exactly."""
    for seconds, rows in ((6, [2, 3]), (3, [2]), (0, [0]), (2**40, [30])):
        net = encoding()
        net(torch.tensor([seconds * SECOND]), torch.tensor([False])).sum().backward()
        assert net.table.weight.grad is not None
        assert net.table.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == rows
    net = encoding()
    net(torch.tensor([6 * SECOND]), torch.tensor([True])).sum().backward()
    assert net.table.weight.grad is not None
    assert net.table.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [31]


def test_a_second_more_is_told_apart_after_minutes_and_a_day_after_years() -> None:
    net = encoding(8)
    for delta, step in ((5 * MINUTE, SECOND), (3 * 365 * 24 * HOUR, 24 * HOUR)):
        one, other = net(torch.tensor([delta, delta + step]), torch.tensor([False, False]))
        assert (one - other).abs().max() > 1e-4


def test_session_inputs_are_the_bit_and_both_deltas() -> None:
    torch.manual_seed(0)
    part = SessionPart(SessionConfig(dim=3), gap_minutes=30.0)
    steps = Steps.build(timed(*ROWS))
    found = part(steps)
    assert found.shape == (len(steps), part.width) == (len(steps), 7)
    for row, (user, slot) in zip(found, pairs(steps), strict=True):
        until, since = slow_until(ROWS[user], slot), slow_since(ROWS[user], slot)
        bit = torch.tensor([float(slot == 0 or until >= 30 * MINUTE)])
        expected = [bit, slow_encoding(part.until, until, slot == 0), slow_encoding(part.since, since, slot < 2)]
        torch.testing.assert_close(row, torch.cat(expected), rtol=1e-5, atol=1e-6)


# Features of users and requests


def fields() -> FieldsConfig:
    return FieldsConfig(dim=5, feature_dim=4, hidden=6, dropout=0.0)


def slow_fields(net: Any, rows: dict[str, list[int]]) -> torch.Tensor:
    """[D] of one row: each field's own network of the mean of its values' embeddings, added up."""
    total = net.shared.clone()
    for name, bag, mlp in zip(net.names, net.bags, net.mlps, strict=True):
        first, _, _, last = mlp.layers
        mean = bag.table.weight[rows[name] or [OOV]].mean(dim=0)
        hidden = (first.weight @ mean + first.bias).clamp(min=0)
        total = total + last.weight @ hidden + last.bias
    return total


def loud(part: Any) -> Any:
    """With parameters that are all far from zero, so that each of them shows."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return part.eval()


def test_user_features_are_read_at_each_step() -> None:
    part = loud(ProfilePart(fields(), SIZES))
    users = user_inputs([[1, 2], [], [3]], ages=[2, 0, 1])
    steps = Steps.build(users)
    expected = [slow_fields(part.fields, {"age": [[2], [0], [1]][row]}) for row, _ in pairs(steps)]
    torch.testing.assert_close(part(steps), torch.stack(expected), rtol=1e-5, atol=1e-5)
    assert part(steps).shape == (len(steps), part.width)


def test_lists_of_user_features_and_missing_ones() -> None:
    part = loud(ProfilePart(fields(), SIZES))
    users = user_inputs([[1], [2], [3]])
    users = UserInputs(**{**users.__dict__, "features": {"age": lists([[1, 2], [], [OOV]])}})
    steps = Steps.build(users)
    expected = [slow_fields(part.fields, {"age": [[1, 2], [], [OOV]][row]}) for row, _ in pairs(steps)]
    torch.testing.assert_close(part(steps), torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_users_of_a_dataset_without_features_are_alike() -> None:
    part = loud(ProfilePart(fields(), BARE))
    users = user_inputs([[1], []])
    found = part(Steps.build(UserInputs(**{**users.__dict__, "features": {}})))
    assert torch.equal(found, part.fields.shared.expand(3, -1))


INSTANTS = (
    "1970-01-01T00:00:00",
    "1969-12-31T23:59:59",
    "2023-12-31T23:59:59",
    "2024-01-01T00:00:00",
    "2024-02-29T12:30:00",
    "1997-09-20T03:05:10",
)


def microseconds(instant: str) -> int:
    return round(datetime.fromisoformat(instant).replace(tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("fraction", [0, SECOND - 1])
def test_a_request_is_its_hour_and_weekday(instant: str, fraction: int) -> None:
    """Of the request, which lies behind an entry at another hour of another day."""
    part = loud(RequestPart(fields()))
    at = microseconds(instant) + fraction
    entry = at - 30 * HOUR
    steps = Steps.build(timed([entry - MONDAY, at - MONDAY]))
    calendar = [datetime.fromtimestamp(one // SECOND, UTC) for one in (entry, at)]
    expected = [slow_fields(part.fields, {"hour": [one.hour], "weekday": [one.weekday()]}) for one in calendar]
    torch.testing.assert_close(part(steps), torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_every_hour_of_the_week_is_another() -> None:
    part = loud(RequestPart(fields()))
    steps = Steps.build(timed(*([hour * HOUR] for hour in range(2 * 168))))
    found = part(steps)[steps.at(torch.arange(336), torch.zeros(336).long())]
    assert len(found[:168].unique(dim=0)) == 168
    assert torch.equal(found[:168], found[168:])


# Feedback


def feedback(sizes: Any = SIZES) -> FeedbackPart:
    torch.manual_seed(0)
    return FeedbackPart(FeedbackConfig(dim=2), sizes)


VALUES = [4.0, math.nan, 1.0, 30.0, 90.0, 3.0, math.nan]
TYPES = [1, 1, 1, 2, 2, 1, 2]


def test_scales_are_those_of_each_event_type() -> None:
    """Type 1: 4, 1 and 3, mean 8/3; type 2: 30 and 90, mean 60; type 0 has none and takes those of all five."""
    mean, std = value_scales(torch.tensor(VALUES), torch.tensor(TYPES), 3)
    known = [4.0, 1.0, 30.0, 90.0, 3.0]
    over = sum(known) / 5
    assert mean.tolist() == pytest.approx([over, 8 / 3, 60.0])
    variances = [sum((one - over) ** 2 for one in known) / 5, (16 / 9 + 25 / 9 + 1 / 9) / 3, 900.0]
    assert std.tolist() == pytest.approx([math.sqrt(one) for one in variances])
    assert mean.dtype == std.dtype == torch.float32


def test_values_that_never_vary_and_values_that_nobody_knows() -> None:
    mean, std = value_scales(torch.tensor([0.1, 0.1, 0.1, 7.0]), torch.tensor([0, 0, 0, 1]), 3)
    assert std[:2].tolist() == [1, 1]
    assert mean.tolist() == pytest.approx([0.1, 7.0, 7.3 / 4])
    mean, std = value_scales(torch.tensor([math.nan, math.nan]), torch.tensor([0, 1]), 2)
    assert (mean.tolist(), std.tolist()) == ([0, 0], [1, 1])
    mean, std = value_scales(torch.zeros(0), torch.zeros(0).long(), 1)
    assert (mean.tolist(), std.tolist()) == ([0], [1])


def test_large_values_keep_their_spread() -> None:
    """Instants as values, say: a variance of float32 sums would be noise."""
    mean, std = value_scales(torch.tensor([1e7, 1e7 + 2, 1e7 + 4]), torch.zeros(3).long(), 1)
    assert mean.item() == pytest.approx(1e7 + 2)
    assert std.item() == pytest.approx(math.sqrt(8 / 3))


def test_feedback_is_that_of_the_latest_entry() -> None:
    part = feedback()
    part.fit_scales(torch.tensor(VALUES), torch.tensor(TYPES))
    values = [[4.0, 30.0, math.nan], [5.0]]
    events = [[1, 2, 1], [0]]
    users = timed([0, 1, 2, 3], [0, 1], [0], values=[*values, []], events=[*events, []])
    steps = Steps.build(users)
    found = part(steps)
    assert found.shape == (len(steps), part.width) == (len(steps), 4)
    for row, (user, slot) in zip(found, pairs(steps), strict=True):
        if slot == 0:
            assert row.tolist() == [0, 1, 0, 0]  # a value of nobody is missing, and so is a type
            continue
        value, event = values[user][slot - 1], events[user][slot - 1]
        scaled = (value - part.mean[event].item()) / part.std[event].item()
        assert row[:2].tolist() == (pytest.approx([scaled, 0.0]) if math.isfinite(value) else [0, 1])
        assert torch.equal(row[2:], part.events.weight[event])


def test_feedback_of_users_without_any_history_is_finite() -> None:
    assert feedback()(Steps.build(user_inputs([[], []]))).tolist() == [[0, 1, 0, 0]] * 2
    assert feedback()(Steps.build(user_inputs([[], []], width=4))).tolist() == [[0, 1, 0, 0]] * 2


def test_unfitted_feedback_reads_values_as_they_are() -> None:
    users = timed([0, 1], values=[[2.5]], events=[[1]])
    assert feedback()(Steps.build(users))[1, :2].tolist() == [2.5, 0]


def test_scales_are_buffers_that_a_checkpoint_holds() -> None:
    part = feedback()
    part.fit_scales(torch.tensor(VALUES), torch.tensor(TYPES))
    again = feedback()
    again.load_state_dict(part.state_dict())
    assert torch.equal(again.mean, part.mean)
    assert torch.equal(again.std, part.std)
    assert not any("mean" in name or "std" in name for name, _ in part.named_parameters())


def test_missing_values_send_no_gradient_astray() -> None:
    part = feedback()
    users = timed([0, 1, 2], [5], values=[[math.nan, 2.0], []], events=[[1, 2], []])
    part(Steps.build(users)).sum().backward()
    grad = part.events.weight.grad
    assert grad is not None
    assert grad.isfinite().all()
    assert grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [1, 2]  # not the row of padding and of first steps
