import numpy as np
import pytest
import torch

from assets.training.negatives import AliasTable, draw, frequencies, inverse_frequency, rebalanced

COUNTS = np.array([0, 9, 1, 30])
MANY = 40_000


def distributions() -> dict[str, np.ndarray]:
    """[N] each, sums of 1."""
    rng = np.random.default_rng(0)
    raw = {
        "one": np.ones(1),
        "two": np.array([0.3, 0.7]),
        "equal": np.ones(7),
        "many equal": np.ones(999),
        "one of all": np.eye(1, 6, 4)[0],
        "half nothing": np.tile([0.0, 1.0], 40),
        "first takes most": 1 / np.arange(1.0, 2000) ** 1.5,
        "last takes most": 1 / np.arange(2000.0, 1, -1),
        "one light": np.array([1.0, 1.0, 1.0, 0.2]),
        "one heavy": np.array([0.1, 0.1, 9.0, 0.1]),
        "exactly average": np.array([1.0, 1.0, 0.5, 1.0, 1.5, 1.0]),
        "heavy tail": rng.pareto(1.0, 5000),
        "counts": (rng.pareto(1.0, 20_000).astype(np.int64) + 1.0) ** 0.75,
        "tiny": rng.random(50) ** 300,
    }
    return {name: weights / weights.sum() for name, weights in raw.items()}


each_distribution = pytest.mark.parametrize("name", list(distributions()))


def implied(table: AliasTable) -> np.ndarray:
    """[N] probability that a draw of the table is each item, column by column."""
    probabilities = np.zeros(len(table.keep))
    for column, (keep, alias) in enumerate(zip(table.keep, table.alias, strict=True)):
        probabilities[column] += keep / len(table.keep)
        probabilities[alias] += (1 - keep) / len(table.keep)
    return probabilities


@each_distribution
def test_an_alias_table_holds_the_probabilities(name: str) -> None:
    p = distributions()[name]
    table = AliasTable.build(p)
    assert table.keep.shape == table.alias.shape == p.shape
    assert ((table.keep >= 0) & (table.keep <= 1)).all()
    assert np.abs(implied(table) - p).max() < 1e-12
    assert (implied(table)[p == 0] == 0).all()  # exactly


@pytest.mark.parametrize("seed", range(20))
def test_alias_tables_of_random_weights(seed: int) -> None:
    """Any order of light and heavy items, zeros and ties among them; sums other than 1."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([0.0, 1.0, 2.0, 5.0], 200) * rng.choice([1.0, 1.0, rng.random()], 200)
    found = implied(AliasTable.build(weights))
    assert np.abs(found - weights / weights.sum()).max() < 1e-12
    assert (found[weights == 0] == 0).all()


@pytest.mark.parametrize("weight", [0.7, 1.0, 3.0])
def test_equal_weights_that_rounding_puts_below_their_mean(weight: float) -> None:
    """As on a dataset's first day, when nobody has engaged with anything: 0.7 * 7 / (7 * 0.7) is below 1 in floats."""
    for number in range(1, 60):
        p = np.full(number, weight)
        assert np.abs(implied(AliasTable.build(p)) - 1 / number).max() < 1e-15


def test_no_probability_is_below_the_smallest_random_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = AliasTable.build(np.array([0.0, 1.0, 0.0, 3.0]))
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.zeros(count, dtype=torch.float64))
    assert set(table.draw(200, generator()).tolist()) == {1, 3}


@each_distribution
def test_alias_draws_follow_the_probabilities(name: str) -> None:
    """Of the twenty likeliest items, and of the rest together, by five standard errors of 40,000 draws."""
    p = distributions()[name]
    drawn = np.bincount(AliasTable.build(p).draw(MANY, generator()), minlength=len(p)) / MANY
    assert (drawn[p == 0] == 0).all()
    top = np.argsort(-p)[:20]
    for share, chance in zip([*drawn[top], 1 - drawn[top].sum()], [*p[top], 1 - p[top].sum()], strict=True):
        assert share == pytest.approx(chance, abs=5 * np.sqrt(max(chance * (1 - chance), 1e-9) / MANY) + 1e-9)


def test_alias_draws_are_independent_of_each_other() -> None:
    """Pairs of neighbouring draws are as likely as the product: a column decides nothing about the next."""
    p = np.array([0.5, 0.3, 0.2])
    drawn = AliasTable.build(p).draw(MANY, generator()).reshape(-1, 2)
    pairs = np.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9) / len(drawn)
    assert pairs == pytest.approx(np.outer(p, p).ravel(), abs=0.015)


def test_alias_draws_are_the_seeds() -> None:
    table = AliasTable.build(frequencies(COUNTS, 1.0))
    assert table.draw(50, generator(3)).tolist() == table.draw(50, generator(3)).tolist()
    assert table.draw(50, generator(3)).tolist() != table.draw(50, generator(4)).tolist()
    assert table.draw(0, generator()).shape == (0,)
    assert table.draw(3, generator()).dtype == np.int64
    assert AliasTable.build(np.array([0.4])).draw(4, generator()).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("weights", [[0.0, 0.0], [], [0.5, -0.1], [0.5, np.nan]])
def test_no_table_without_probabilities(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="not all zero"):
        AliasTable.build(np.array(weights))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_frequencies_are_the_stated_ones_and_draws_follow_them(power: float) -> None:
    weights = [1.0, 10.0**power, 2.0**power, 31.0**power]
    q = frequencies(COUNTS, power)
    assert q.tolist() == pytest.approx([weight / sum(weights) for weight in weights])
    assert draw(q, MANY, generator()).shape == (MANY,)
    assert np.bincount(draw(q, MANY, generator()), minlength=4) / MANY == pytest.approx(q, abs=0.01)


def test_what_has_no_probability_is_never_drawn() -> None:
    drawn = draw(np.array([0.0, 0.5, 0.0, 0.5, 0.0]), MANY, generator())
    assert set(drawn.tolist()) == {1, 3}


def test_draws_are_the_seeds() -> None:
    q = frequencies(COUNTS, 1.0)
    assert draw(q, 50, generator(3)).tolist() == draw(q, 50, generator(3)).tolist()
    assert draw(q, 50, generator(3)).tolist() != draw(q, 50, generator(4)).tolist()
    assert draw(q, 0, generator()).shape == (0,)


def test_rebalanced_keeps_the_tail_and_samples_the_head_down() -> None:
    """Items of 2, 4, 8 and 40 engagements, the tail up to 4: weights 1, 1, 1/2, 1/10."""
    counts = np.tile([2, 4, 8, 40], MANY // 4)
    drawn = rebalanced(counts, 4, generator())
    assert drawn.shape == (MANY,)
    assert len(torch.unique(drawn)) > MANY // 4  # with replacement, from everywhere
    shares = torch.bincount(drawn % 4) / MANY
    assert shares.tolist() == pytest.approx([1 / 2.6, 1 / 2.6, 0.5 / 2.6, 0.1 / 2.6], abs=0.01)


def test_items_of_the_head_become_equally_frequent() -> None:
    """Ten targets on one item, forty on another: both above the tail, so both are drawn as often."""
    items = np.array([0] * 10 + [1] * 40)
    counts = np.where(items == 0, 10, 40)
    drawn = torch.cat([rebalanced(counts, 4, generator(seed)) for seed in range(400)])
    assert items[drawn.numpy()].mean() == pytest.approx(0.5, abs=0.01)


def test_reversed_draws_items_by_the_inverse_of_their_frequency() -> None:
    """Item i has ``sizes[i]`` targets among the rows, as its count says: shares of items are as 1, 1/2, 1/4, 1/8."""
    sizes = np.array([1, 2, 4, 8])
    items = np.repeat(np.arange(4), sizes)
    drawn = torch.cat([inverse_frequency(sizes[items], generator(seed)) for seed in range(3000)])
    shares = np.bincount(items[drawn.numpy()]) / len(drawn)
    assert shares == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15], abs=0.01)


def test_reversed_draws_a_target_by_the_inverse_square() -> None:
    """Whatever else is in the batch: counts are those of all training."""
    counts = np.tile([1, 2, 4, 0], MANY // 4)  # an item without engagements counts as one with one
    drawn = inverse_frequency(counts, generator())
    assert drawn.shape == (MANY,)
    shares = torch.bincount(drawn % 4) / MANY
    assert shares.tolist() == pytest.approx([16 / 37, 4 / 37, 1 / 37, 16 / 37], abs=0.01)
    assert torch.equal(drawn, inverse_frequency(counts, generator()))


def test_no_targets_give_no_sample() -> None:
    assert rebalanced(np.zeros(0, np.int64), 4, generator()).shape == (0,)
    assert inverse_frequency(np.zeros(0, np.int64), generator()).shape == (0,)
