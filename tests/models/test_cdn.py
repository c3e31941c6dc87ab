"""CDN section 3 against slow loops and numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from models.base import TrainBatch
from models.cdn import (
    BilateralHead,
    BilateralHeadConfig,
    ConstantAdapter,
    CumulativeAdapter,
    DesignConfig,
    ExpertItems,
    ExpertItemsConfig,
    GammaAdapter,
    HeadTailConfig,
    HeadTailItems,
    MemGenConfig,
    MemGenItems,
    UnbalancedBalancedConfig,
    UnbalancedBalancedItems,
    build_expert_items,
)
from models.head import SingleHeadConfig
from models.net import Retrieval, RetrievalConfig
from models.registry import NETS, build_net
from models.sequence import SequenceUsersConfig
from tests.models.support import BARE, SIZES, item_inputs, requests, slow_loss, train_batch

DIM = 4
DESIGNS: tuple[DesignConfig, ...] = (MemGenConfig(), HeadTailConfig(), UnbalancedBalancedConfig())


def tower(design: DesignConfig, **fields: float) -> ExpertItems:
    torch.manual_seed(1)
    return build_expert_items(ExpertItemsConfig(design=design, **fields), SIZES, DIM)


def net(name: str, **fields: object) -> Retrieval:
    torch.manual_seed(2)
    values = NETS[name].model_dump() | {"dim": DIM} | fields
    built = build_net(RetrievalConfig(**values), SIZES)
    assert isinstance(built, Retrieval)
    with torch.no_grad():
        for parameter in built.items.parameters():
            parameter.mul_(5)  # scores far enough apart for a wrong term to show
    return built.eval()


# Item side


def test_mem_gen_is_equation_3() -> None:
    items, module = item_inputs(), tower(MemGenConfig(mem=2, gen=1)).eval()
    assert isinstance(module, MemGenItems)
    hidden, weight = module.frequency[0], module.gate.weight.detach()
    y = module(items)
    for row in range(len(items)):
        memorized = module.table.weight[items.ids[row]]
        generalized = module.generalization(items)[row]
        experts = [module.mem[0].weight @ memorized, module.mem[1].weight @ memorized]
        experts.append(module.gen[0].weight @ generalized)
        frequency = [
            math.tanh(a * math.log(1 + float(items.counts[row])) + b)
            for a, b in zip(hidden.weight[:, 0].tolist(), hidden.bias.tolist(), strict=True)
        ]
        logits = [sum(float(w) * f for w, f in zip(line, frequency, strict=True)) for line in weight]
        total = sum(math.exp(logit) for logit in logits)
        wanted = sum(math.exp(logit) / total * expert for logit, expert in zip(logits, experts, strict=True))
        torch.testing.assert_close(y[row], wanted)


def test_the_gate_reads_frequency_alone() -> None:
    items, module = item_inputs(), tower(MemGenConfig())
    gates = module.gates(items)
    assert gates.shape == (8, 4)
    torch.testing.assert_close(gates.sum(dim=1), torch.ones(8))
    assert len({tuple(row) for row in gates.tolist()}) == 8  # counts differ
    others = replace(items, ids=items.ids.flip(0), features=item_inputs(genres=[(4,)] * 8).features)
    assert torch.equal(module.gates(others), gates)
    same = module.gates(replace(items, counts=torch.full((8,), 5.0)))
    assert torch.equal(same, same[:1].expand(8, 4))


def test_memorization_experts_read_ids_and_generalization_experts_read_features() -> None:
    items, module = item_inputs(), tower(MemGenConfig(mem=1, gen=1)).eval()
    before = module.experts(items)
    other_ids = module.experts(replace(items, ids=(items.ids + 1) % SIZES.items))
    assert torch.equal(other_ids[:, 1], before[:, 1])
    assert (other_ids[:, 0] != before[:, 0]).any(dim=1).all()
    other_features = module.experts(item_inputs(genres=[(3, 4)] * 8, years=[(3,)] * 8))
    assert torch.equal(other_features[:, 0], before[:, 0])
    assert not torch.equal(other_features[:, 1], before[:, 1])


def test_head_tail_gate_is_0_or_1_and_trains_only_its_expert() -> None:
    items, module = item_inputs(), tower(HeadTailConfig(tail_max_count=14)).eval()
    assert isinstance(module, HeadTailItems)
    assert items.counts[:4].tolist() == [0, 7, 14, 21]
    assert module.gates(items)[:4].tolist() == [[0, 1], [0, 1], [0, 1], [1, 0]]
    y = module(items)
    both = module.both(items)
    torch.testing.assert_close(y[2], module.pair[1].weight @ both[2])
    torch.testing.assert_close(y[3], module.pair[0].weight @ both[3])
    y[:3].sum().backward()
    assert not module.pair[0].weight.grad.any()
    assert module.pair[1].weight.grad.any()


def test_unbalanced_balanced_serves_the_first_expert_and_trains_both() -> None:
    items, module = item_inputs(), tower(UnbalancedBalancedConfig()).eval()
    assert isinstance(module, UnbalancedBalancedItems)
    both = module.both(items)
    served, (read, training) = module(items), module.training_vectors(items)
    torch.testing.assert_close(served, both @ module.pair[0].weight.T)
    torch.testing.assert_close(read, served)
    torch.testing.assert_close(training, torch.cat([served, both @ module.pair[1].weight.T], dim=1))


def test_designs_are_equal_in_size_but_for_the_gate() -> None:
    sizes = []
    for design in DESIGNS:
        parts = tower(design).named_parameters()
        sizes.append(sum(p.numel() for name, p in parts if not name.startswith(("frequency", "gate"))))
    assert sizes[0] == sizes[1] == sizes[2]


def test_ids_are_dropped_in_training_so_that_the_oov_row_learns() -> None:
    items = item_inputs(ids=(1, 2, 3, 4, 5, 6, 7, 8))
    for probability, reached in ((0.9, True), (0.0, False)):
        module = tower(MemGenConfig(), id_dropout=probability).train()
        module(items).sum().backward()
        assert bool(module.table.weight.grad[0].any()) == reached


def test_generalization_needs_features() -> None:
    with pytest.raises(ValueError, match="no features"):
        build_expert_items(ExpertItemsConfig(), BARE, DIM)
    bare = item_inputs(features=False)
    for design in DESIGNS[1:]:
        assert build_expert_items(ExpertItemsConfig(design=design), BARE, DIM)(bare).isfinite().all()


# User side


def test_alpha_by_hand() -> None:
    gamma = GammaAdapter(gamma=2)
    assert [gamma.alpha(t, 4) for t in (1, 2, 3, 4)] == [1 - 1 / 64, 1 - 4 / 64, 1 - 9 / 64, 0.75]
    assert GammaAdapter(gamma=5).alpha(10, 10) == pytest.approx(0.96)
    assert [CumulativeAdapter().alpha(t, 2) for t in (1, 2)] == [0.75, 0]
    assert [ConstantAdapter().alpha(t, 9) for t in (1, 5, 9)] == [0.5, 0.5, 0.5]
    with pytest.raises(ValidationError):
        GammaAdapter(gamma=1)  # the main branch must stay the main one


def test_alpha_moves_with_the_epoch() -> None:
    built = net("cdn")
    head = built.head
    assert isinstance(head, BilateralHead)
    assert head.alpha == 1
    built.begin_epoch(3, 6)
    assert head.alpha == 1 - (3 / 12) ** 2
    built.begin_epoch(6, 6)
    assert head.alpha == 0.75


def test_loss_is_equation_8_by_hand_on_three_rows() -> None:
    # One dimension, two items with y = 1 and y = -1, h_m(f) = f, h_r(f) = 2 f, alpha = 3/4.
    head = BilateralHead(BilateralHeadConfig(), 1, branches=1)
    with torch.no_grad():
        head.main.weight.fill_(1)
        head.regularizer.weight.fill_(2)
    head.begin_epoch(5, 5)
    batch = replace(train_batch(), targets=torch.tensor([0, 1, 0]), rebalanced=torch.tensor([2, 0, 0]))
    y = torch.tensor([[1.0], [-1.0]])

    def losses(x: Tensor, labels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert [label.tolist() for label in labels] == [[0, 1, 0], [0, 0, 0]]  # i_m, i_r
        log_p = (x @ y.T).log_softmax(dim=1)
        return tuple(-log_p[torch.arange(3), label] for label in labels)

    loss = head.loss(torch.tensor([[1.0], [2.0], [3.0]]), batch, losses)
    # s of item 0: 3/4 * 1 + 1/4 * 2 * 3, 3/4 * 2 + 1/4 * 2 * 1, 3/4 * 3 + 1/4 * 2 * 1; of item 1 the negative.
    # -log p is log(1 + exp(-2 s)) for item 0 and log(1 + exp(2 s)) for item 1.
    wanted = [
        math.log(1 + math.exp(-4.5)),
        0.75 * math.log(1 + math.exp(4)) + 0.25 * math.log(1 + math.exp(-4)),
        math.log(1 + math.exp(-5.5)),
    ]
    assert loss.tolist() == pytest.approx(wanted, rel=1e-5)


def slow_mixed_loss(built: Retrieval, batch: TrainBatch, alpha: float) -> float:
    """Eq. 4, 5, 7 and 8 over the registered net's parts, candidate by candidate."""
    head, count = built.head, len(batch.targets)
    assert isinstance(head, BilateralHead)
    _, trained = built.items.training_vectors(batch.items)
    y_m, y_r = trained[:, :DIM], trained[:, -DIM:]
    f = torch.stack(
        [built.users(batch.users, y_m, batch.target_rows[[t]], batch.target_positions[[t]])[0] for t in range(count)]
    )
    scores = torch.zeros(count, batch.candidates)
    for t in range(count):
        x_m, x_r = head.main(f[t]), head.regularizer(f[batch.rebalanced[t]])
        for j in range(batch.candidates):
            scores[t, j] = alpha * y_m[j] @ x_m + (1 - alpha) * y_r[j] @ x_r + built.tau * batch.items.log_trend[j]
    original = batch.targets.tolist()
    balanced = batch.targets[batch.rebalanced].tolist()
    loss = built.config.loss
    main = slow_loss(loss, scores, original, batch, balanced)
    regularizer = slow_loss(loss, scores, balanced, batch, original)
    return sum(alpha * one + (1 - alpha) * other for one, other in zip(main, regularizer, strict=True)) / count


@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax"])
@pytest.mark.parametrize("name", ["cdn", "udn", "cdn_unbalanced_balanced", "cdn_head_tail", "ihm_cdn"])
def test_loss_of_the_whole_net(name: str, loss: str) -> None:
    built, batch = net(name, loss=loss), train_batch(loss)
    built.begin_epoch(3, 4)
    assert built.loss(batch).item() == pytest.approx(slow_mixed_loss(built, batch, 1 - (3 / 8) ** 2), rel=1e-4)


def test_loss_with_equal_branches() -> None:
    built, batch = net("bdn"), train_batch("sampled_softmax")
    built.begin_epoch(1, 4)
    assert built.loss(batch).item() == pytest.approx(slow_mixed_loss(built, batch, 0.5), rel=1e-4)


def test_a_trend_counts_once_in_either_branch() -> None:
    trend = {"weight": 0.7, "learned": True}
    for name in ("cdn", "cdn_unbalanced_balanced"):
        built, batch = net(name, trend=trend), train_batch("sampled_softmax")
        built.begin_epoch(4, 4)
        loss = built.loss(batch)
        assert loss.item() == pytest.approx(slow_mixed_loss(built, batch, 0.75), rel=1e-4)
        loss.backward()
        assert built.tau.grad


@pytest.mark.parametrize("name", ["cdn", "udn", "cdn_head_tail", "cdn_unbalanced_balanced", "ihm_cdn"])
def test_inference_is_the_main_branch_alone(name: str) -> None:
    built, batch = net(name), train_batch()
    users = requests(batch)
    items = built.item_vectors(batch.items)
    before = built.user_vectors(users, items)
    with torch.no_grad():
        built.head.regularizer.weight.fill_(math.nan)
        built.head.regularizer.bias.fill_(math.nan)
        if isinstance(built.items, UnbalancedBalancedItems):
            built.items.pair[1].weight.normal_()
    after = built.item_vectors(batch.items)
    assert torch.equal(after, items)
    assert torch.equal(built.user_vectors(users, after), before)
    rows = torch.arange(len(users))
    f = built.users(users, items[:, :DIM], rows, users.lengths)
    torch.testing.assert_close(before[:, :DIM], built.head.main(f))  # eq. 9
    with torch.no_grad():
        built.head.main.weight.mul_(2)
    assert not torch.equal(built.user_vectors(users, after), before)


def test_bdn_serves_the_average_of_both_branches() -> None:
    built, batch = net("bdn"), train_batch()
    users, items = requests(batch), built.item_vectors(batch.items)
    f = built.users(users, items, torch.arange(len(users)), users.lengths)
    wanted = (built.head.main(f) + built.head.regularizer(f)) / 2
    torch.testing.assert_close(built.user_vectors(users, items), wanted)


def test_each_branch_learns_from_its_own_sample() -> None:
    head = BilateralHead(BilateralHeadConfig(), DIM, branches=1)
    head.begin_epoch(1, 1)
    batch = replace(train_batch(), rebalanced=torch.tensor([1, 1, 4, 4, 1, 1]))
    seen: dict[str, Tensor] = {}
    head.main.register_forward_hook(lambda _, inside, __: seen.update(main=inside[0]))
    head.regularizer.register_forward_hook(lambda _, inside, __: seen.update(regularizer=inside[0]))
    f = torch.randn(6, DIM, requires_grad=True)
    head.loss(f, batch, lambda x, labels: tuple(x.sum(dim=1) for _ in labels))
    assert torch.equal(seen["main"], f)
    assert torch.equal(seen["regularizer"], f[[1, 1, 4, 4, 1, 1]])


def test_gradients_reach_both_branches_and_the_shared_tower() -> None:
    built, batch = net("cdn").train(), train_batch("sampled_softmax")
    built.begin_epoch(2, 4)
    built.loss(batch).backward()
    missing = [name for name, p in built.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert missing == []


def test_an_alpha_of_one_leaves_the_regularizer_out() -> None:
    built, batch = net("cdn"), train_batch("sampled_softmax")
    built.loss(batch).backward()  # no epoch has begun
    assert not built.head.regularizer.weight.grad.any()
    assert built.head.main.weight.grad.any()


def test_a_vector_per_branch_needs_two_branches() -> None:
    items = ExpertItemsConfig(design=UnbalancedBalancedConfig())
    with pytest.raises(ValidationError, match="needs head bilateral"):
        RetrievalConfig(items=items, users=SequenceUsersConfig(), head=SingleHeadConfig())
    with pytest.raises(ValidationError, match="serves the main branch"):
        RetrievalConfig(items=items, users=SequenceUsersConfig(), head=BilateralHeadConfig(served="average"))
