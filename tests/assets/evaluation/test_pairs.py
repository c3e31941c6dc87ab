"""Models against each other, by hand."""

import numpy as np
import pandas as pd
import pytest

from assets.evaluation.compare import ModelDraws, model_draws, paired_difference
from assets.evaluation.pairs import PAIR_COLUMNS, changes_markdown, pair_table, pairs_markdown, ratio_text
from tests.assets.evaluation.toy import over_seeds, random_ranks, ranks_frame

HR, NLL = ("hr", 10), ("nll", 0)
METRICS = [HR, NLL]


def draws(ranks: pd.DataFrame, samples: int = 60) -> ModelDraws:
    return model_draws(ranks, METRICS, samples, seed=0)


def by_hand() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ten users with a case in each of two windows, the first on a tail item, the second on a cold one."""
    cases = [(f"u{user}", window, ("tail", "cold")[window], 1, True, 0, 0) for window in (0, 1) for user in range(10)]
    left = ranks_frame(cases, "left")
    # The left hits 8 and 8, the right 4 and 6.
    hits_left, hits_right = [*range(8), *range(10, 18)], [*range(4), *range(10, 16)]
    place = np.arange(len(left))
    return (
        left.assign(above=np.where(np.isin(place, hits_left), 0, 50)),
        left.assign(above=np.where(np.isin(place, hits_right), 0, 50), model="right"),
    )


def test_differences_ratios_and_changes_by_hand():
    left, right = by_hand()
    table = pair_table({"left": draws(left), "right": draws(right)}, METRICS)
    assert list(table.columns) == list(PAIR_COLUMNS)
    rows = table.set_index(["model", "reference", "metric", "slice", "window"]).sort_index()
    ahead = rows.loc[("left", "right", "hr", "overall")]
    assert ahead["difference"].to_dict() == pytest.approx({"0": 0.4, "1": 0.2, "all": 0.3})
    assert ahead["ratio"].to_dict() == pytest.approx({"0": 2, "1": 4 / 3, "all": 1.6})
    assert ahead.loc["0", "change"] == ahead.loc["0", "change_low"] == ahead.loc["0", "change_high"] == 0
    assert ahead.loc["1", "change"] == pytest.approx(-0.2)
    assert ahead.loc["1", "change_low"] < -0.2 < ahead.loc["1", "change_high"]
    assert np.isnan(ahead.loc["all", "change"])
    assert ahead.loc["all", "verdict"] == "beats"
    assert rows.loc[("right", "left", "hr", "overall", "all"), "verdict"] == "loses to"
    assert rows.loc[("left", "right", "hr", "tail_and_cold", "all"), "n"] == 20
    assert rows.loc[("left", "right", "hr", "cold", "1"), "change"] == 0  # cold begins in window 1


def test_both_directions_mirror_each_other():
    table = pair_table({"a": draws(random_ranks("a")), "b": draws(random_ranks("b", shift=3))}, METRICS)
    keys = ["window", "slice", "metric", "k"]
    one, other = (table[table["model"] == model].set_index(keys) for model in "ab")
    np.testing.assert_allclose(one["difference"], -other["difference"])
    np.testing.assert_allclose(one["ci_low"], -other["ci_high"])
    np.testing.assert_allclose(one["change_low"], -other["change_high"], atol=1e-12)


def test_agrees_with_the_paired_difference():
    left, right = random_ranks("a"), random_ranks("b", shift=1)
    table = pair_table({"a": draws(left), "b": draws(right)}, METRICS)
    for metric in METRICS:
        expected = paired_difference(left, right, metric, 60, 0)
        at = (table["model"] == "a") & (table["window"] == "all") & (table["slice"] == "overall")
        row = table[at & (table["metric"] == metric[0])].iloc[0]
        assert (row["difference"], row["ci_low"], row["ci_high"]) == pytest.approx(
            (expected.value, expected.ci_low, expected.ci_high)
        )
        assert row["verdict"] == expected.verdict == "beats"


def test_the_ratio_of_likelihoods_is_that_of_perplexities():
    left = random_ranks("a")
    table = pair_table({"a": draws(left), "b": draws(left.assign(nll=left["nll"] + np.log(2)))}, METRICS)
    ratios = table[(table["metric"] == "nll") & (table["model"] == "a")]
    np.testing.assert_allclose(ratios[["ratio", "ratio_low", "ratio_high"]], 0.5)
    assert (ratios["verdict"] == "beats").all()


def test_a_reference_that_never_hits_has_no_ratio():
    left = random_ranks("a")
    table = pair_table({"a": draws(left), "b": draws(left.assign(above=99))}, METRICS)
    chosen = table[(table["metric"] == "hr") & (table["model"] == "a")]
    assert chosen["ratio"].isna().all()
    assert chosen["difference"].notna().all()


def test_a_ratio_to_a_single_hit_has_no_upper_end():
    """Whoever is drawn without that one user makes it infinite: about 37 % of the draws."""
    left = random_ranks("a").assign(above=0)
    first = left["user_id"] == left["user_id"].iloc[0]
    right = left.assign(above=np.where(first, 0, 99))
    table = pair_table({"a": draws(left), "b": draws(right)}, METRICS)
    row = table[(table["metric"] == "hr") & (table["model"] == "a") & (table["window"] == "all")].iloc[0]
    assert row["ratio"] == pytest.approx(row["value"] / row["reference_value"])
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"] == np.inf
    assert ratio_text(row).endswith(", ∞]")
    assert ratio_text({"ratio": np.nan, "ratio_low": np.nan, "ratio_high": np.nan}) == ""


def test_seeds_count_with_their_means():
    left, right = by_hand()
    table = pair_table({"left": draws(over_seeds(left, right)), "right": draws(right)}, METRICS)
    row = table[(table["model"] == "left") & (table["slice"] == "overall") & (table["metric"] == "hr")]
    assert row.set_index("window")["difference"].to_dict() == pytest.approx({"0": 0.2, "1": 0.1, "all": 0.15})


def test_other_cases_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        pair_table({"a": draws(random_ranks()), "b": draws(random_ranks(cases=399))}, METRICS)


def test_one_model_has_no_pairs():
    assert list(pair_table({"a": draws(random_ranks())}, METRICS).columns) == list(PAIR_COLUMNS)


def test_tables_for_people():
    left, right = by_hand()
    table = pair_table({"left": draws(left), "right": draws(right)}, METRICS)
    lines = pairs_markdown(table, "right", HR).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        *("HR@10 minus right, every window", "overall", "tail", "cold", "tail_and_cold"),
    ]
    assert "| left " in lines[2]
    assert "+0.3000 [" in lines[2]
    change = changes_markdown(table, "right", HR)
    assert "change from the first window to 1" in change
    assert "-0.2000 [" in change
