"""The recurrent towers against a loop over users and steps: cells, inputs, truncated BPTT, and what must not matter."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.base import UserInputs
from models.context import FeedbackConfig, FieldsConfig, SessionConfig, Steps
from models.recurrent import (
    GruCell,
    GruCellConfig,
    HierarchicalCell,
    HierarchicalCellConfig,
    RecurrentUsers,
    RecurrentUsersConfig,
)
from models.registry import NETS
from tests.models.support import BARE, HOUR, MONDAY, SIZES, user_inputs

DIM, ITEMS, HIDDEN, LONGEST = 5, 12, 4, 30
FIELDS = FieldsConfig(dim=3, feature_dim=2, hidden=4, dropout=0.0)
PARTS: dict[str, dict[str, Any]] = {
    "gru": {},
    "hrnn": {"session": SessionConfig(dim=2)},
    "hgru": {"session": SessionConfig(dim=2), "cell": HierarchicalCellConfig()},
    "hgru alone": {"cell": HierarchicalCellConfig()},
    "everything": {
        "session": SessionConfig(dim=2),
        "profile": FIELDS,
        "request": FIELDS,
        "feedback": FeedbackConfig(dim=2),
    },
}
each_parts = pytest.mark.parametrize("parts", sorted(PARTS))
each_bptt = pytest.mark.parametrize("bptt", [1, 2, 3, 7, 100])


def tower(parts: str, input_scale: float = 1.7, sizes: Any = SIZES, **fields: Any) -> RecurrentUsers:
    """With parameters far from zero, a session gap that some of the tests' pauses exceed, and scales of values."""
    torch.manual_seed(0)
    config = {"hidden": HIDDEN, "history_length": LONGEST, "dropout": 0.0, "session_gap_minutes": 100, **PARTS[parts]}
    built = RecurrentUsers(RecurrentUsersConfig(**{**config, **fields}), sizes, DIM, input_scale)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    built.fit_scales(torch.tensor([1.0, 2.0, 5.0, 3.0]), torch.tensor([0, 0, 1, 1]))
    return built.eval()


def vectors() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(ITEMS, DIM)


def users_of(lengths: list[int], **fields: Any) -> UserInputs:
    """Histories of rows 1..11, so that row 0 is read by padding alone; pauses of minutes to days."""
    torch.manual_seed(2)
    histories = [torch.randint(1, ITEMS, (length,)).tolist() for length in lengths]
    made = user_inputs(histories, ages=[row % 3 for row in range(len(lengths))], **fields)
    pauses = torch.tensor([1, 30, 99, 100, 101, 24 * 60])[torch.randint(0, 6, made.times.shape)] * (HOUR // 60)
    return replace(made, times=MONDAY + pauses.cumsum(dim=1))


def at_the_end(net: RecurrentUsers, users: UserInputs, items: torch.Tensor) -> torch.Tensor:
    return net(users, items, torch.arange(len(users)), users.lengths)


def every_step(users: UserInputs) -> tuple[torch.Tensor, torch.Tensor]:
    pairs = [(row, at) for row, length in enumerate(users.lengths.tolist()) for at in range(length, -1, -1)]
    rows, positions = torch.tensor(pairs).T
    return rows, positions


# One step at a time


def gru(cell: torch.nn.Module, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Cho et al. 2014: h' = (1 - z) n + z h; torch's rows are r, z, n."""
    weights = {name.split(".")[-1].removesuffix("_l0"): value for name, value in cell.named_parameters()}
    w_r, w_z, w_n = weights["weight_ih"].chunk(3)
    u_r, u_z, u_n = weights["weight_hh"].chunk(3)
    b_r, b_z, b_n = weights["bias_ih"].chunk(3)
    c_r, c_z, c_n = weights["bias_hh"].chunk(3)
    r = torch.sigmoid(w_r @ x + b_r + u_r @ h + c_r)
    z = torch.sigmoid(w_z @ x + b_z + u_z @ h + c_z)
    n = torch.tanh(w_n @ x + b_n + r * (u_n @ h + c_n))
    return (1 - z) * n + z * h


def one_user(users: UserInputs, row: int, length: int) -> UserInputs:
    """That user alone, with the first entries of the history, and the request at the instant of the next one."""
    return UserInputs(
        ids=users.ids[[row]],
        features={name: values[[row]] for name, values in users.features.items()},
        history=users.history[[row], :length],
        times=users.times[[row], : length + 1],
        values=users.values[[row], :length],
        events=users.events[[row], :length],
        lengths=torch.tensor([length]),
    )


def slow_inputs(net: RecurrentUsers, users: UserInputs, row: int, slot: int, items: torch.Tensor) -> torch.Tensor:
    """[I] item or start, and the parts, which have their own tests, of this step alone."""
    own = items[users.history[row, slot - 1]] * net.input_scale if slot else net.start
    steps = Steps.build(one_user(users, row, slot))
    return torch.cat([own, *(part(steps)[slot] for part in net.parts)])


def slow_vector(net: RecurrentUsers, users: UserInputs, row: int, length: int, items: torch.Tensor) -> torch.Tensor:
    """[D] by the equations, gradients cut before every ``bptt``-th step."""
    h, s = torch.zeros(HIDDEN), torch.zeros(HIDDEN)
    times, gap = users.times[row].tolist(), net.config.session_gap_minutes * 60e6
    for slot in range(length + 1):
        if slot % net.config.bptt == 0:
            h, s = h.detach(), s.detach()
        x = slow_inputs(net, users, row, slot, items)
        if not isinstance(net.cell, HierarchicalCell):
            h = gru(net.cell, x, h)
            continue
        h = gru(net.cell.intra, x, h)
        if slot == 0 or times[slot] - times[slot - 1] >= gap:
            s = gru(net.cell.inter, h, s)
            h = gru(net.cell.intra, x, torch.tanh(net.cell.initial.weight @ s + net.cell.initial.bias))
    return torch.cat([net.project.weight @ h + net.project.bias, torch.ones(1)])


@each_bptt
@each_parts
def test_vectors_and_gradients_are_those_of_a_loop(parts: str, bptt: int) -> None:
    """At every step of users of all lengths at once; the state is carried across chunks, and no gradient is."""
    net, users, items = tower(parts, bptt=bptt), users_of([4, 0, 7, 1, 5]), vectors().requires_grad_()
    rows, positions = every_step(users)
    together = net(users, items, rows, positions)
    slow = [slow_vector(net, users, row, at, items) for row, at in zip(rows.tolist(), positions.tolist(), strict=True)]
    expected = torch.stack(slow)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5)
    leaves = [items, *(one for one in net.parameters() if one.requires_grad)]
    weights = torch.randn_like(expected)
    given, wanted = (
        torch.autograd.grad((one * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
        for one in (together, expected)
    )
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-5)


@each_parts
def test_vectors_do_not_depend_on_how_steps_are_cut(parts: str) -> None:
    users, items = users_of([0, 3, 16, LONGEST, 7, LONGEST - 1, 2]), vectors()
    rows, positions = every_step(users)
    whole = tower(parts, bptt=1000)(users, items, rows, positions)
    for bptt in (1, 2, 5, 8, LONGEST, LONGEST + 1):
        cut = tower(parts, bptt=bptt)(users, items, rows, positions)
        torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [GruCell, HierarchicalCell])
def test_a_cell_returns_the_state_of_each_user_as_if_alone(kind: type[GruCell | HierarchicalCell]) -> None:
    """Of those who have ended as well, and so that steps may follow in another call."""
    torch.manual_seed(3)
    cell = kind(3, HIDDEN)
    counts = [4, 4, 3, 1, 1]
    x, breaks = torch.randn(sum(counts), 3), torch.rand(sum(counts)) < 0.4
    begin = torch.randn_like(cell.begin(4))
    outputs, states = cell(x, breaks, torch.tensor(counts), begin)
    starts = [sum(counts[:slot]) for slot in range(len(counts))]
    for user in range(4):
        rows = [start + user for start, count in zip(starts, counts, strict=True) if user < count]
        alone, state = cell(x[rows], breaks[rows], torch.ones(len(rows)).long(), begin[[user]])
        torch.testing.assert_close(outputs[rows], alone)
        torch.testing.assert_close(states[[user]], state)
        part = begin[[user]]
        for row in rows:
            out, part = cell(x[[row]], breaks[[row]], torch.tensor([1]), part)
            torch.testing.assert_close(outputs[[row]], out)
        torch.testing.assert_close(states[[user]], part)


@each_parts
def test_a_gradient_stays_within_its_chunk(parts: str) -> None:
    """Chunks of three steps: 0, 1, 2 and 3, 4, 5. Step 4 has read entries 2 and 3 in its chunk, step 2 entries 0, 1."""
    net, items = tower(parts, bptt=3), vectors().requires_grad_()
    users = replace(users_of([6, 6]), history=torch.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 1]]))
    net(users, items, torch.tensor([0, 1]), torch.tensor([4, 2]))[:, :-1].pow(2).sum().backward()
    assert items.grad is not None
    assert items.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [3, 4, 7, 8]


@pytest.mark.parametrize("cell", ["gru", "hgru"])
def test_chunks_that_nobody_reads_keep_nothing(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none does where nothing is to be learned."""
    net, users, items, kept = tower(cell, bptt=2), users_of([9, 4]), vectors(), []
    forward = net.cell.forward

    def watched(x: torch.Tensor, *rest: Any) -> Any:
        out = forward(x, *rest)
        kept.append(out[0].requires_grad)
        return out

    monkeypatch.setattr(net.cell, "forward", watched)
    rows, positions = torch.tensor([0, 1, 0]), torch.tensor([8, 2, 3])  # chunks 4, 1 and 1
    net(users, items, rows, positions)
    assert kept == [False, True, False, False, True]
    kept.clear()
    with torch.inference_mode():
        net(users, items, rows, positions)
    assert kept == [False] * 5


@each_parts
def test_one_row_may_serve_many_targets_and_another_none(parts: str) -> None:
    net, users, items = tower(parts, bptt=3), users_of([4, 2, 13]), vectors()
    rows, positions = torch.tensor([2, 0, 2, 2]), torch.tensor([13, 1, 0, 5])
    expected = [slow_vector(net, users, row, at, items) for row, at in ((2, 13), (0, 1), (2, 0), (2, 5))]
    torch.testing.assert_close(net(users, items, rows, positions), torch.stack(expected), rtol=1e-4, atol=1e-5)


# Sessions


@pytest.mark.parametrize("parts", ["hrnn", "hgru", "hgru alone"])
def test_a_session_ends_at_exactly_the_gap(parts: str) -> None:
    """A pause of a microsecond less is nearly the same time-delta, and yet another vector; one longer is not."""
    net, items = tower(parts, session_gap_minutes=90.0), vectors()
    gap = 90 * HOUR // 60
    pauses = [gap - 2, gap - 1, gap, gap + 1]
    users = user_inputs([[3, 4]] * 4)
    users = replace(users, times=MONDAY + torch.tensor([[0, 10 * HOUR // 60, 10 * HOUR // 60 + one] for one in pauses]))
    under, last_under, first_over, over = at_the_end(net, users, items)
    torch.testing.assert_close(under, last_under, rtol=0, atol=1e-6)
    torch.testing.assert_close(first_over, over, rtol=0, atol=1e-6)
    assert (first_over - last_under).abs().max() > 0.01


def test_the_first_prediction_of_a_session_is_made_from_both_levels() -> None:
    """Fig. 2's re-run: what the inter-session cell makes of a session's end shows at once, not an item later."""
    net, items = tower("hgru alone"), vectors()
    users = user_inputs([[3, 4]] * 2)
    minutes = torch.tensor([[0, 10, 20], [0, 10, 5000]]) * (HOUR // 60)
    users = replace(users, times=MONDAY + minutes)
    before = at_the_end(net, users, items)
    assert isinstance(net.cell, HierarchicalCell)
    with torch.no_grad():
        net.cell.initial.bias.add_(1.0)
    moved = (at_the_end(net, users, items) - before).abs().amax(dim=1)
    assert moved[1] > 0.01
    steady = replace(users, times=users.times - 1000 * HOUR)  # nothing of the clock is read
    torch.testing.assert_close(at_the_end(net, steady, items), at_the_end(net, users, items))


# What is read, and what is not


def other_clock(users: UserInputs) -> UserInputs:
    return replace(users, times=users.times + torch.arange(users.times.shape[1]) * HOUR)


def other_values(users: UserInputs) -> UserInputs:
    return replace(users, values=users.values + 1)


def other_events(users: UserInputs) -> UserInputs:
    return replace(users, events=(users.events + 1).clamp(max=2))


def other_people(users: UserInputs) -> UserInputs:
    return replace(users, features={"age": (users.features["age"] + 1) % 3})


READS = {
    "gru": set(),
    "hrnn": {other_clock},
    "hgru": {other_clock},
    "hgru alone": {other_clock},
    "everything": {other_clock, other_values, other_events, other_people},
}


@pytest.mark.parametrize("change", [other_clock, other_values, other_events, other_people])
@each_parts
def test_only_what_is_configured_is_read(parts: str, change: Any) -> None:
    net, users, items = tower(parts), users_of([6, 3]), vectors()
    same = torch.equal(at_the_end(net, users, items), at_the_end(net, change(users), items))
    assert same != (change in READS[parts])


def test_the_registered_nets_are_what_they_are_called() -> None:
    configs = {name: NETS[name].users for name in ("gru", "hrnn", "hgru", "hrnn_meta")}
    read = {
        name: {part for part in ("session", "profile", "request", "feedback") if getattr(config, part) is not None}
        for name, config in configs.items()
    }
    assert read == {
        "gru": set(),
        "hrnn": {"session"},
        "hgru": {"session"},
        "hrnn_meta": {"session", "profile", "request", "feedback"},
    }
    assert [name for name, config in configs.items() if config.cell != GruCellConfig()] == ["hgru"]
    assert {NETS[name].loss for name in configs} == {"sampled_softmax"}
    assert [name for name in configs if NETS[name].trend.used] == ["hrnn_meta"]
    assert NETS["hrnn_meta"].trend.weight == 1.0


@each_parts
def test_what_comes_later_changes_nothing(parts: str) -> None:
    """The item, value and type of what is predicted; its instant is that of the request, and known."""
    net, items = tower(parts), vectors()
    users = users_of([6])
    rows, positions = torch.tensor([0, 0, 0]), torch.tensor([0, 2, 4])
    one = net(users, items, rows, positions)
    later = {
        "history": torch.tensor([[*users.history[0, :4].tolist(), 9, 8]]),
        "values": torch.tensor([[*users.values[0, :4].tolist(), 7.0, 9.0]]),
        "events": torch.tensor([[*users.events[0, :4].tolist(), 0, 0]]),
        "times": torch.cat([users.times[:, :5], users.times[:, 5:] + 1000 * HOUR], dim=1),
    }
    assert torch.equal(net(replace(users, **later), items, rows, positions), one)
    earlier = replace(users, history=users.history.clone())
    earlier.history[0, 3] = earlier.history[0, 3] % (ITEMS - 1) + 1
    moved = (net(earlier, items, rows, positions) - one).abs().amax(dim=1)
    assert (moved > 1e-4).tolist() == [False, False, True]


@each_parts
def test_padding_never_leaks(parts: str) -> None:
    """Rows 0 and -1, which padding could read, are NaN; the space behind is wide or narrow, and holds other rubbish."""
    net, items = tower(parts), vectors()
    lengths = [3, 1, 0, 4, 7, 12]
    users = users_of(lengths)
    users = replace(users, history=users.history.clamp(max=ITEMS - 2))
    poisoned = items.clone()
    poisoned[[0, ITEMS - 1]] = torch.nan
    clean = at_the_end(net, users, items)
    assert clean.isfinite().all()
    assert torch.equal(at_the_end(net, users, poisoned), clean)
    wide = torch.full((6, LONGEST - 12), -1)
    padded = replace(
        users,
        history=torch.cat([users.history, wide], dim=1),
        times=torch.cat([users.times, wide - 10**15], dim=1),
        values=torch.cat([users.values, torch.full(wide.shape, torch.nan)], dim=1),
        events=torch.cat([users.events, wide], dim=1),
    )
    torch.testing.assert_close(at_the_end(net, padded, poisoned), clean, rtol=0, atol=0)
    behind = torch.arange(13) > users.lengths[:, None]
    rubbish = replace(users, times=users.times.masked_fill(behind, -(10**18)))
    assert torch.equal(at_the_end(net, rubbish, items), clean)


@each_parts
def test_only_what_came_before_a_target_gets_gradient(parts: str) -> None:
    net, items = tower(parts), vectors().requires_grad_()
    users = user_inputs([[3, 5, 7, 2], [9], []])
    net(users, items, torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]))[:, :-1].pow(2).sum().backward()
    assert items.grad is not None
    assert items.grad.abs().sum(dim=1).nonzero()[:, 0].tolist() == [3, 5, 9]  # not 7, 2, nor 0 of the padding
    assert net.start.grad is not None
    assert (net.start.grad != 0).any()
    assert all(one.grad.isfinite().all() for one in net.parameters() if one.grad is not None)


@each_parts
@pytest.mark.parametrize("width", [0, 3])
def test_users_without_history_are_finite_and_those_of_a_first_event(parts: str, width: int) -> None:
    """A user's first event is predicted from nothing but who asks and when, as for a user without any."""
    net, items = tower(parts), vectors()
    nobody = user_inputs([[], []], width=width)
    nobody = replace(nobody, times=nobody.times[:1].expand(2, -1).clone())
    found = at_the_end(net, nobody, items)
    assert found.isfinite().all()
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], slow_vector(net, nobody, 0, 0, items))
    first = user_inputs([[4, 5, 6]])
    first = replace(first, times=torch.cat([nobody.times[:1, :1], first.times[:, 1:]], dim=1))
    torch.testing.assert_close(net(first, items, torch.tensor([0]), torch.tensor([0]))[0], found[0])


@each_parts
def test_unknown_people_and_datasets_without_features(parts: str) -> None:
    net, items = tower(parts, sizes=BARE), vectors()
    users = replace(user_inputs([[1, 2], []]), features={})
    assert at_the_end(net, users, items).isfinite().all()


@each_parts
def test_user_vectors_end_with_one_and_have_the_items_width(parts: str) -> None:
    found = at_the_end(tower(parts), users_of([3, 0, 5]), vectors())
    assert found.shape == (3, DIM)
    assert found[:, -1].tolist() == [1, 1, 1]


def test_no_requests_give_no_vectors() -> None:
    assert at_the_end(tower("everything"), user_inputs([]), vectors()).shape == (0, DIM)
    nothing = torch.zeros(0).long()
    assert tower("gru")(users_of([3]), vectors(), nothing, nothing).shape == (0, DIM)


@pytest.mark.parametrize("longest", [1, 3])
def test_too_long_a_history_is_refused(longest: int) -> None:
    net = tower("hrnn", history_length=longest)
    assert at_the_end(net, users_of([longest, 0]), vectors()).shape == (2, DIM)
    with pytest.raises(AssertionError, match=f"{longest + 1} > {longest}"):
        at_the_end(net, users_of([2, longest + 1]), vectors())


def test_order_of_the_history_matters() -> None:
    users = user_inputs([[3, 4, 5], [4, 3, 5]])
    one, other = at_the_end(tower("gru"), users, vectors())
    assert not torch.allclose(one, other, atol=1e-3)


def test_item_vectors_are_read_as_they_are_now() -> None:
    net, items, users = tower("gru"), vectors(), user_inputs([[3, 4], [5]])
    moved = items.clone()
    moved[4] = -moved[4]
    before, after = at_the_end(net, users, items), at_the_end(net, users, moved)
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0], atol=1e-3)


@each_parts
def test_dropout_is_for_training_and_follows_the_seed(parts: str) -> None:
    net, users, items = tower(parts, dropout=0.4), users_of([5, 2]), vectors()
    served = at_the_end(net, users, items)
    assert torch.equal(at_the_end(net, users, items), served)
    net.train()
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(at_the_end(net, users, items))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-3)
    assert (drawn[0][:, -1] == 1).all()  # the constant of the bias is never dropped


def test_scales_reach_the_feedback_and_no_other_part() -> None:
    users, items = users_of([3]), vectors()
    for parts, reads in (("everything", True), ("hrnn", False)):
        net = tower(parts)
        before = at_the_end(net, users, items)
        net.fit_scales(torch.tensor([10.0, 20.0]), torch.tensor([0, 1]))
        assert torch.equal(at_the_end(net, users, items), before) != reads


def test_long_histories_cost_what_they_are_long() -> None:
    """Steps are as many as entries and one per user: nothing is computed for padding."""
    users = users_of([LONGEST, 0, 1, 2])
    seen = []
    net = tower("hrnn", bptt=4)
    inputs = net.inputs

    def watched(steps: Steps, tokens: torch.Tensor, known: dict[int, torch.Tensor]) -> torch.Tensor:
        seen.append(len(steps))
        return inputs(steps, tokens, known)

    net.inputs = watched  # type: ignore[method-assign]
    at_the_end(net, users, vectors())
    assert sum(seen) == LONGEST + 1 + 2 + 4
    assert len(seen) == -(-(LONGEST + 1) // 4)
