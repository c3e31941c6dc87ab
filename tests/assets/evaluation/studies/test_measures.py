"""Numbers of variants' runs."""

import numpy as np
import pytest

from assets.evaluation.compare import paired_difference
from assets.evaluation.slices import metrics_frame
from assets.evaluation.studies.measures import conditions, interval, paired, run_table, seed_means
from assets.evaluation.studies.variants import Variant
from tests.assets.evaluation.studies.made import run, settings

GENERATOR = np.random.default_rng(0)
ABOVE = GENERATOR.integers(0, 20, 60)
NLL = GENERATOR.normal(3, 1, 60)
A, B = Variant("a", "gru"), Variant("b", "hrnn")


def test_a_row_is_what_the_metrics_table_says() -> None:
    one = run(A, ABOVE, NLL)
    row = run_table([one], settings()).iloc[0]
    table = metrics_frame(one.ranks, (5, 10), 50, 0)
    table = table[(table["window"] == "all") & (table["slice"] == "overall")].set_index(["metric", "k"])
    keys = {"hr@5": ("hr", 5), "hr@10": ("hr", 10), "ndcg@10": ("ndcg", 10), "perplexity": ("perplexity", 0)}
    for name, key in keys.items():
        found = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
        assert found == pytest.approx(table.loc[key, ["value", "ci_low", "ci_high"]].tolist()), name
    assert (row["variant"], row["model"], row["seed"], row["best_epoch"]) == ("a", "gru", 0, 5)
    assert (row["cases"], row["git_revision"]) == (60, "abc")


def test_targets_off_the_catalog_have_no_likelihood() -> None:
    nll = np.where(np.arange(60) < 20, np.nan, 2.0)
    row = run_table([run(A, ABOVE, nll)], settings()).iloc[0]
    assert (row["cases"], row["likelihood_cases"]) == (60, 40)
    assert row["perplexity"] == pytest.approx(np.exp(2))


def test_seeds_are_averaged_per_case() -> None:
    runs = [run(A, ABOVE, 2.0, seed=0, seconds=10), run(A, ABOVE + 5, 4.0, seed=1, seconds=20)]
    means = seed_means(runs, settings(2))["a"]
    both = run_table(runs, settings(2))
    assert means["hr@10"] == pytest.approx(both["hr@10"].mean())
    assert means["perplexity"] == pytest.approx(np.exp(3))  # of the averaged likelihood, not the mean perplexity
    assert means["seconds"] == 15


def test_pairs_are_compared_on_the_same_draws_of_users() -> None:
    left, right = run(A, ABOVE, NLL), run(B, ABOVE + 1, NLL + 0.1)
    found = paired([left, right], [("a", "b")], settings())
    expected = paired_difference(left.ranks, right.ranks, ("hr", 5), 50, 0)
    row = found["a", "b", "hr@5"]
    assert (row["difference"], row["ci_low"], row["ci_high"]) == pytest.approx(
        (expected.value, expected.ci_low, expected.ci_high)
    )
    perplexity = found["a", "b", "perplexity"]
    assert perplexity["ratio"] == pytest.approx(np.exp(-0.1))
    assert perplexity["ratio_low"] == pytest.approx(perplexity["ratio_high"])  # the same difference in every draw
    assert ("b", "a", "hr@5") not in found


def test_other_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="same cases"):
        paired([run(A, ABOVE, NLL), run(B, ABOVE[:-1], NLL[:-1])], [("a", "b")], settings())


def test_words() -> None:
    means = seed_means([run(A, ABOVE, 2.0)], settings())
    assert interval(means["a"], ("nll", 0), 1) == "7.4 [7.4, 7.4]"
    said = conditions(settings(), means)
    assert said.startswith("toy, split median_time, seed 0; ")
    assert "60 cases" in said
    assert "means of seeds 0 to 2" in conditions(settings(3), means)
