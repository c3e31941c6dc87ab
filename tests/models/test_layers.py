"""Blocks against naive loops."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks.plain_ihm import PaddedBlock
from models.base import OOV, PADDING
from models.layers import (
    INIT_STD,
    MLP,
    CausalBlock,
    FeatureBag,
    FeatureEmbedding,
    FieldMLP,
    Reads,
    drop_ids,
    embedding,
    linear_near_identity,
    segment_softmax_mean,
)


def naive_bag(table: torch.Tensor, values: list[list[int]]) -> torch.Tensor:
    rows = []
    for row in values:
        kept = [value for value in row if value != PADDING] or [OOV]
        total = torch.zeros(table.shape[1])
        for value in kept:
            total = total + table[value]
        rows.append(total / len(kept))
    return torch.stack(rows)


def test_feature_bag_is_the_mean_of_the_values() -> None:
    torch.manual_seed(0)
    bag = FeatureBag(6, 4)
    values = [[1, 2, 3], [4, PADDING, PADDING], [PADDING, PADDING, PADDING], [0, 5, PADDING], [2, 2, 1]]
    torch.testing.assert_close(bag(torch.tensor(values)), naive_bag(bag.table.weight, values))


def test_feature_bag_ignores_the_order_and_the_amount_of_padding() -> None:
    torch.manual_seed(0)
    bag = FeatureBag(9, 4)
    one = bag(torch.tensor([[3, 1, 8, PADDING]]))
    other = bag(torch.tensor([[8, 3, 1, PADDING, PADDING, PADDING]]))
    torch.testing.assert_close(one, other)


def test_no_gradient_reaches_padding() -> None:
    bag = FeatureBag(4, 3)
    bag(torch.tensor([[2, PADDING], [3, PADDING]])).pow(2).sum().backward()
    gradient = bag.table.weight.grad
    assert gradient is not None
    assert (gradient[[0, 1]] == 0).all()
    assert (gradient[[2, 3]] != 0).any(dim=1).all()


def test_a_list_without_values_trains_the_missing_row() -> None:
    bag = FeatureBag(4, 3)
    bag(torch.tensor([[PADDING, PADDING]])).pow(2).sum().backward()
    gradient = bag.table.weight.grad
    assert gradient is not None
    assert (gradient[OOV] != 0).any()
    assert (gradient[1:] == 0).all()


def test_features_lie_side_by_side_in_the_order_of_their_names() -> None:
    torch.manual_seed(0)
    both = FeatureEmbedding({"year": 3, "genre": 4}, 2)
    genre, year = torch.tensor([[1, 2], [3, PADDING]]), torch.tensor([[2], [0]])
    expected = torch.cat([naive_bag(both.bags[0].table.weight, [[1, 2], [3]]), both.bags[1].table.weight[[2, 0]]], 1)
    assert both.width == 4
    torch.testing.assert_close(both({"year": year, "genre": genre}, 2), expected)


def test_no_features_have_no_width() -> None:
    none = FeatureEmbedding({}, 2)
    assert none({}, 5).shape == (5, 0)
    assert none.state_dict() == {}


def test_no_features_lie_on_the_device_of_the_net() -> None:
    none = FeatureEmbedding({}, 2).to("meta")
    ids = torch.zeros(5, 3, device="meta")
    assert torch.cat([ids, none({}, 5)], dim=1).shape == (5, 3)


@pytest.mark.parametrize("std", [INIT_STD, 0.5])
def test_tables_begin_with_the_stated_spread(std: float) -> None:
    torch.manual_seed(0)
    assert embedding(500, 8, std).weight.std().item() == pytest.approx(std, rel=0.05)
    assert FeatureEmbedding({"genre": 500}, 8, std).bags[0].table.weight.std().item() == pytest.approx(std, rel=0.05)


def test_dropped_ids_become_oov_at_the_stated_rate_and_only_in_training() -> None:
    torch.manual_seed(0)
    ids = torch.arange(1, 20_001)
    ids[::10] = PADDING
    dropped = drop_ids(ids, 0.3, training=True)
    real = ids != PADDING
    assert (dropped[~real] == PADDING).all()
    assert (dropped[real] == OOV).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert ((dropped == ids) | (dropped == OOV)).all()
    assert torch.equal(drop_ids(ids, 0.3, training=False), ids)


def test_mlp_is_linear_relu_linear() -> None:
    torch.manual_seed(0)
    mlp = MLP((3, 5, 2), dropout=0.5).eval()
    x = torch.randn(4, 3)
    first, last = mlp.layers[0], mlp.layers[3]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(mlp(x), hidden @ last.weight.T + last.bias)


LENGTHS = [4, 1, 3, 5]
STARTS = [0, 4, 5, 8]
"""Four sequences of 13 positions in all."""

each_path = pytest.mark.parametrize("path", ["mask", "pairs"])


def reads(queries: list[int]) -> Reads:
    """Of sequences of :data:`LENGTHS`."""
    owner = torch.repeat_interleave(torch.tensor(STARTS), torch.tensor(LENGTHS))
    return Reads(torch.tensor(queries).long(), owner[torch.tensor(queries).long()])


EVERYWHERE = list(range(sum(LENGTHS)))


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every block take one path of attention."""
    return lambda path: monkeypatch.setattr(Reads, "dense", lambda *_: path == "mask")


def test_a_query_reads_its_sequence_up_to_itself() -> None:
    """Sequences of 3 and 2 positions; row 2 is asked for twice, row 1 never."""
    some = Reads(torch.tensor([4, 2, 0, 2]), torch.tensor([3, 0, 0, 0]))
    query, row = some.pairs()
    assert query.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 3]
    assert row.tolist() == [3, 4, 0, 1, 2, 0, 0, 1, 2]
    assert some.mask(5).int().tolist() == [[0, 0, 0, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0]]


def test_pairs_and_mask_say_the_same() -> None:
    some = reads([12, 0, 7, 7, 4, 9])
    mask = torch.zeros(6, 13, dtype=torch.bool)
    mask[some.pairs()] = True
    assert torch.equal(mask, some.mask(13))
    assert len(some.pairs()[0]) == int(mask.sum())


def test_no_queries_read_nothing() -> None:
    query, row = reads([]).pairs()
    assert query.tolist() == row.tolist() == []
    assert reads([]).mask(13).shape == (0, 13)


@pytest.mark.parametrize(("sequences", "dense"), [(1, True), (127, True), (128, False), (1000, False)])
def test_many_short_sequences_are_gathered_and_few_are_masked(sequences: int, dense: bool) -> None:
    """n sequences of one position: n * n cells against n pairs of 128 cells' cost each."""
    rows = torch.arange(sequences)
    assert Reads(rows, rows).dense(sequences) is dense


def naive_attention(block: CausalBlock, x: torch.Tensor) -> torch.Tensor:
    """[T, D] SASRec eq. 2-3 over one sequence [T, D], one scalar product at a time."""
    t, d = x.shape
    width = d // block.heads
    q, k, v = (x @ block.qkv.weight.T + block.qkv.bias).split(d, dim=-1)
    mixed = torch.zeros(t, d)
    for head in range(block.heads):
        columns = slice(head * width, (head + 1) * width)
        for position in range(t):
            scores = [float(q[position, columns] @ k[past, columns]) for past in range(position + 1)]
            exponents = [math.exp(score / math.sqrt(width)) for score in scores]
            for past, weight in enumerate(exponents):
                mixed[position, columns] += weight / sum(exponents) * v[past, columns]
    return mixed @ block.project.weight.T + block.project.bias


def naive_over_all(block: CausalBlock, x: torch.Tensor) -> torch.Tensor:
    """[S, D] each sequence of :data:`LENGTHS` by itself."""
    return torch.cat([naive_attention(block, one) for one in x.split(LENGTHS)])


@each_path
def test_attention_against_a_loop(path: str, take: Callable[[str], None]) -> None:
    take(path)
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.0)
    x = torch.randn(13, 8)
    with torch.no_grad():
        expected = naive_over_all(block, x)
        torch.testing.assert_close(block.attend(x, reads(EVERYWHERE)), expected, rtol=1e-4, atol=1e-5)
        some = [3, 12, 0, 6, 12, 4]  # in any order, one twice, one first of its sequence
        torch.testing.assert_close(block.attend(x, reads(some)), expected[some], rtol=1e-4, atol=1e-5)


@each_path
def test_block_adds_both_sublayers_to_its_input(path: str, take: Callable[[str], None]) -> None:
    take(path)
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.3).eval()
    x, some = torch.randn(13, 8), [11, 2, 4, 5]
    with torch.no_grad():
        middle = x + naive_over_all(block, block.norm_attention(x))
        expected = middle + block.feed_forward(block.norm_feed_forward(middle))
        torch.testing.assert_close(block(x, reads(some)), expected[some], rtol=1e-4, atol=1e-5)


def outputs_and_gradients(
    output: torch.Tensor, x: torch.Tensor, block: nn.Module
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """An output, and by name the gradients of a fixed function of it: of the input and of every parameter."""
    torch.manual_seed(5)
    leaves = {"input": x, **dict(block.named_parameters())}
    gradients = torch.autograd.grad((output * torch.randn_like(output)).sum(), list(leaves.values()))
    return output.detach(), dict(zip(leaves, gradients, strict=True))


def assert_alike(
    one: tuple[torch.Tensor, dict[str, torch.Tensor]], other: tuple[torch.Tensor, dict[str, torch.Tensor]]
) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=1e-4, atol=1e-5)
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-4, atol=1e-5, msg=f"gradient of {name}")


@each_path
def test_a_block_is_the_padded_block_with_its_gradients(path: str, take: Callable[[str], None]) -> None:
    """Under the same weights; some positions asked for in any order, one of them twice, a sequence not at all."""
    take(path)
    torch.manual_seed(0)
    block, padded = CausalBlock(8, heads=2, dropout=0.3).eval(), PaddedBlock(8, heads=2, dropout=0.3).eval()
    padded.load_state_dict(block.state_dict())
    x, some = torch.randn(13, 8, requires_grad=True), [12, 1, 0, 6, 9, 6]
    owner = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
    slot = torch.arange(13) - torch.tensor(STARTS)[owner]
    wide = torch.full((4, 5, 8), 7.0).index_put((owner, slot), x)
    everywhere = padded(wide)[owner, slot]
    given = outputs_and_gradients(block(x, reads(some)), x, block)
    assert_alike(given, outputs_and_gradients(everywhere[some], x, padded))
    assert given[1]["input"].any(dim=1).logical_not().nonzero()[:, 0].tolist() == [2, 3, 4, 7]


@pytest.mark.parametrize(("count", "length"), [(40, 30), (3, 600), (200, 7)])
@pytest.mark.parametrize("last", [False, True])
def test_both_paths_are_one_function(count: int, length: int, last: bool, take: Callable[[str], None]) -> None:
    """Beyond the blocks that a fused kernel works in, where whole blocks of a row are masked, with far-apart scores."""
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.0)
    with torch.no_grad():
        block.qkv.weight.mul_(5)
    x = torch.randn(count * length, 8, requires_grad=True)
    rows = torch.arange(count * length)
    firsts = rows // length * length
    some = Reads(rows[length - 1 :: length], firsts[length - 1 :: length]) if last else Reads(rows, firsts)
    results = []
    for path in ("mask", "pairs"):
        take(path)
        results.append(outputs_and_gradients(block(x, some), x, block))
    assert results[0][0].isfinite().all()
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=1e-5)
    for name, gradient in results[0][1].items():
        scale = float(gradient.abs().max()) + 1e-3
        torch.testing.assert_close(gradient / scale, results[1][1][name] / scale, rtol=1e-3, atol=1e-4)


@each_path
def test_scores_whose_exponentials_overflow_stay_finite(path: str, take: Callable[[str], None]) -> None:
    """Attention then falls on the largest score alone."""
    take(path)
    torch.manual_seed(0)
    block = CausalBlock(8, heads=1, dropout=0.0)
    with torch.no_grad():
        block.qkv.weight[:16].mul_(100)
    x = torch.randn(13, 8, requires_grad=True)
    attended = block.attend(x, reads([3, 12]))
    q, k, v = (x @ block.qkv.weight.T + block.qkv.bias).split(8, dim=-1)
    best = [int((k[:4] @ q[3]).argmax()), 8 + int((k[8:] @ q[12]).argmax())]
    assert (k[:4] @ q[3] / 8**0.5).max() > 100
    torch.testing.assert_close(attended, block.project(v[best]), rtol=1e-4, atol=1e-5)
    attended.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@each_path
@pytest.mark.parametrize("query", [0, 2, 4, 6, 9, 12])
def test_a_position_sees_nothing_later_and_no_other_sequence(
    path: str, query: int, take: Callable[[str], None]
) -> None:
    take(path)
    torch.manual_seed(0)
    block = CausalBlock(8, heads=2, dropout=0.0).eval()
    x = torch.randn(13, 8, requires_grad=True)
    first = max(start for start in STARTS if start <= query)
    output = block(x, reads([query]))
    (gradient,) = torch.autograd.grad(output.square().sum(), x)
    assert gradient.any(dim=1).nonzero()[:, 0].tolist() == list(range(first, query + 1))
    changed = torch.full_like(x, 1e3)
    changed[first : query + 1] = x[first : query + 1]
    torch.testing.assert_close(block(changed, reads([query])), output)


@each_path
def test_a_block_without_queries_has_no_output(path: str, take: Callable[[str], None]) -> None:
    take(path)
    block = CausalBlock(8, heads=2, dropout=0.0)
    assert block(torch.randn(13, 8), reads([])).shape == (0, 8)
    assert block(torch.randn(0, 8), reads([])).shape == (0, 8)


@pytest.mark.parametrize("inside", [4, 7])
def test_near_identity_passes_the_first_inputs_on(inside: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(50, inside)
    passed = linear_near_identity(inside, 4)(x)
    assert (passed - x[:, :4]).abs().max() < 0.3
    assert not torch.equal(passed, x[:, :4])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(AssertionError, match="multiple of heads"):
        CausalBlock(6, heads=4, dropout=0.0)


def naive_pool(
    own_scores: torch.Tensor, scores: torch.Tensor, own_values: torch.Tensor, values: torch.Tensor, rows: list[int]
) -> torch.Tensor:
    """Each row by itself, with exact exponentials."""
    pooled = []
    for row in range(len(own_scores)):
        mine = [entry for entry, owner in enumerate(rows) if owner == row]
        logits = [float(own_scores[row]), *(float(scores[entry]) for entry in mine)]
        vectors = [own_values[row], *(values[entry] for entry in mine)]
        weights = [math.exp(logit - max(logits)) for logit in logits]
        pooled.append(
            sum(
                (weight / sum(weights) * vector for weight, vector in zip(weights, vectors, strict=True)),
                0 * vectors[0],
            )
        )
    return torch.stack(pooled)


POOL_ROWS = [0, 0, 0, 2, 4, 4]
"""Entries per row: 3, 0, 1, 0, 2."""


def pool_inputs(scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    shapes = ((5,), (6,), (5, 3), (6, 3))
    own_scores, scores, own_values, values = (torch.randn(*shape, dtype=torch.float64) for shape in shapes)
    return scale * own_scores, scale * scores, own_values, values


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_segment_softmax_mean_against_a_loop(scale: float) -> None:
    """Also with scores whose exponentials overflow."""
    inputs = pool_inputs(scale)
    torch.testing.assert_close(segment_softmax_mean(*inputs, torch.tensor(POOL_ROWS)), naive_pool(*inputs, POOL_ROWS))


def test_segment_softmax_mean_reads_entries_in_any_order() -> None:
    own_scores, scores, own_values, values = pool_inputs()
    order = torch.tensor([5, 2, 0, 3, 1, 4])
    shuffled = segment_softmax_mean(
        own_scores, scores[order], own_values, values[order], torch.tensor(POOL_ROWS)[order]
    )
    torch.testing.assert_close(shuffled, naive_pool(own_scores, scores, own_values, values, POOL_ROWS))


def test_a_row_without_entries_gives_its_own_value_back_exactly() -> None:
    own_scores, scores, own_values, values = pool_inputs(50.0)
    pooled = segment_softmax_mean(own_scores, scores, own_values, values, torch.tensor(POOL_ROWS))
    assert torch.equal(pooled[[1, 3]], own_values[[1, 3]])
    none = segment_softmax_mean(own_scores, scores[:0], own_values, values[:0], torch.zeros(0).long())
    assert torch.equal(none, own_values)


def test_segment_softmax_mean_has_the_right_gradient() -> None:
    """The largest score is detached; finite differences would notice if it did not cancel."""
    leaves = tuple(tensor.requires_grad_() for tensor in pool_inputs())
    assert torch.autograd.gradcheck(lambda *inputs: segment_softmax_mean(*inputs, torch.tensor(POOL_ROWS)), leaves)


# Field-aware MLP


def fields(**rows: int) -> FieldMLP:
    torch.manual_seed(0)
    return FieldMLP(rows, feature_dim=3, hidden=5, dim=4, dropout=0.0)


def test_each_field_has_a_network_of_its_own_and_they_add_up() -> None:
    """Lists of one, two and no values (the value OOV), field by field."""
    net = fields(genre=5, age=4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    values = {"genre": [[1], [2, 4], []], "age": [[3], [], [1]]}
    assert net.names == ("age", "genre")
    expected = []
    for row in range(3):
        total = net.shared
        for name, bag, mlp in zip(net.names, net.bags, net.mlps, strict=True):
            first, _, _, last = mlp.layers
            mean = bag.table.weight[values[name][row] or [OOV]].mean(dim=0)
            hidden = (first.weight @ mean + first.bias).clamp(min=0)
            total = total + last.weight @ hidden + last.bias
        expected.append(total)
    padded = {
        "genre": torch.tensor([[1, PADDING], [2, 4], [PADDING, PADDING]]),
        "age": torch.tensor([[3], [PADDING], [1]]),
    }
    torch.testing.assert_close(net(padded, 3), torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_without_fields_there_is_what_rows_share() -> None:
    net = fields()
    with torch.no_grad():
        net.shared.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert net({}, 2).tolist() == [[1, 2, 3, 4]] * 2
    assert net({}, 0).shape == (0, 4)


@pytest.mark.parametrize("number", [1, 6])
def test_fields_together_begin_as_small_as_a_row(number: int) -> None:
    torch.manual_seed(0)
    net = FieldMLP({f"field{index}": 50 for index in range(number)}, 16, 64, 200, 0.0)
    values = {name: torch.arange(50)[:, None] for name in net.names}
    assert 0.3 * INIT_STD < net(values, 50).std().item() < 1.5 * INIT_STD
