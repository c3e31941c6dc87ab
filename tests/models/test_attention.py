"""Attention over ragged sequences, and the block round it, against naive loops and a padded block."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmarks.plain_ihm import PaddedBlock
from models import attention
from models.attention import Reads
from models.layers import CausalBlock

LENGTHS = [4, 1, 3, 5]
STARTS = [0, 4, 5, 8]
"""Four sequences of 13 positions in all."""

PATHS = {"bands": (32, math.inf), "bands of 3": (3, math.inf), "pairs": (32, 0.0)}
"""Name -> queries of a band, and the cells that count as much as a pair."""

each_path = pytest.mark.parametrize("path", PATHS)


def reads(queries: list[int]) -> Reads:
    """Of sequences of :data:`LENGTHS`."""
    owner = torch.repeat_interleave(torch.tensor(STARTS), torch.tensor(LENGTHS))
    return Reads(torch.tensor(queries).long(), owner[torch.tensor(queries).long()])


EVERYWHERE = list(range(sum(LENGTHS)))


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes every block take one path of attention."""

    def choose(path: str) -> None:
        size, cells = PATHS[path]
        monkeypatch.setattr(attention, "BAND", size)
        monkeypatch.setattr(attention, "CELLS_PER_PAIR", cells)

    return choose


def test_a_query_reads_its_sequence_up_to_itself() -> None:
    """Sequences of 3 and 2 positions; row 2 is asked for twice, row 1 never."""
    some = Reads(torch.tensor([4, 2, 0, 2]), torch.tensor([3, 0, 0, 0]))
    query, row = some.pairs()
    assert query.tolist() == [0, 0, 1, 1, 1, 2, 3, 3, 3]
    assert row.tolist() == [3, 4, 0, 1, 2, 0, 0, 1, 2]


def test_bands_are_stretches_of_rows_that_queries_in_order_look_at(take: Callable[[str], None]) -> None:
    """Rows 0, 4, 7 and 7, 9, 12 of sequences that begin at 0, 4, 5 and 8."""
    take("bands of 3")
    bands = reads([12, 0, 7, 7, 4, 9]).bands()
    assert bands.queries.tolist() == [[1, 4, 2], [3, 5, 0]]
    assert bands.rows.tolist() == [[0, 4, 7], [7, 9, 12]]
    assert bands.firsts.tolist() == [[0, 4, 5], [5, 8, 8]]
    assert (bands.width, bands.cells) == (8, 48)
    assert bands.stretch().tolist() == [[*range(8)], [*range(5, 13)]]
    assert bands.mask()[0].int().tolist() == [[1, *[0] * 7], [0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1]]
    assert bands.mask()[1].int().tolist() == [[1, 1, 1, *[0] * 5], [0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, *[1] * 5]]


def test_the_last_band_is_filled_up_with_its_last_query(take: Callable[[str], None]) -> None:
    take("bands of 3")
    assert reads([3, 1, 2, 0]).bands().queries.tolist() == [[3, 1, 2], [0, 0, 0]]
    assert reads([3, 1]).bands().queries.tolist() == [[1, 0]]


def test_bands_and_pairs_say_the_same(take: Callable[[str], None]) -> None:
    take("bands of 3")
    some = reads([12, 0, 7, 7, 4, 9, 1])
    bands, (query, row) = some.bands(), some.pairs()
    which, at = bands.mask().flatten(0, 1).nonzero().T
    seen = zip(bands.queries.flatten()[which].tolist(), bands.stretch()[which // 3, at].tolist(), strict=True)
    assert sorted(set(seen)) == list(zip(query.tolist(), row.tolist(), strict=True))


def test_no_queries_read_nothing() -> None:
    query, row = reads([]).pairs()
    assert query.tolist() == row.tolist() == []
    assert reads([]).cheapest() is None


@pytest.mark.parametrize(("length", "banded"), [(1, False), (3, False), (6, True), (50, True)])
def test_short_sequences_read_everywhere_are_gathered_and_long_ones_banded(length: int, banded: bool) -> None:
    """A row costs 32 cells or some more in a band, and half its sequence's length of pairs, 12 cells each."""
    rows = torch.arange(64 * length)
    assert (Reads(rows, rows // length * length).cheapest() is not None) is banded


def test_many_sequences_read_at_their_ends_are_gathered() -> None:
    """As users are served: a band of 32 queries would span 32 sequences, 31 of 32 cells masked."""
    ends = torch.arange(300) * 40 + 39
    assert Reads(ends, ends - 39).cheapest() is None


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
def test_all_paths_are_one_function(count: int, length: int, last: bool, take: Callable[[str], None]) -> None:
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
    for path in PATHS:
        take(path)
        results.append(outputs_and_gradients(block(x, some), x, block))
    one, *others = results
    assert one[0].isfinite().all()
    for other in others:
        torch.testing.assert_close(one[0], other[0], rtol=1e-4, atol=1e-5)
        for name, gradient in one[1].items():
            scale = float(gradient.abs().max()) + 1e-3
            torch.testing.assert_close(gradient / scale, other[1][name] / scale, rtol=1e-3, atol=1e-4)


@each_path
def test_half_as_many_bits_cost_less_than_a_hundredth(path: str, take: Callable[[str], None]) -> None:
    """Outputs and gradients in bfloat16 beside those in 64 bits: root mean squares, sequences of 51."""
    take(path)
    torch.manual_seed(0)
    rows = torch.arange(20 * 51)
    some = Reads(rows, rows // 51 * 51)
    given, weights = [torch.randn(len(rows), width, dtype=torch.float64) for width in (64, 128)], torch.randn(1020, 64)

    def found(dtype: torch.dtype) -> list[torch.Tensor]:
        q, kv = (one.to(dtype).requires_grad_() for one in given)
        output = attention.attention(q, kv, 2, some)
        assert output.dtype == dtype
        return [one.double() for one in (output, *torch.autograd.grad((output * weights.to(dtype)).sum(), (q, kv)))]

    for exact, narrow in zip(found(torch.float64), found(torch.bfloat16), strict=True):
        assert (exact - narrow).square().mean().sqrt() < 0.01 * exact.square().mean().sqrt()


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


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(AssertionError, match="multiple of heads"):
        CausalBlock(6, heads=4, dropout=0.0)
