"""The page of results: what it says, from small tables; and what it leaves out."""

from dataclasses import replace

import pandas as pd
import pytest

from assets.config import Protocol
from assets.evaluation.board import Board
from assets.evaluation.compare import model_draws, relative_to_first_window
from assets.evaluation.document import Origin, Page, Results, Timing, document
from assets.evaluation.pairs import pair_table
from assets.evaluation.slices import HIT_RATE, NDCG, NLL, NO_K, Metric, metrics_frame, seed_means_frame
from tests.assets.evaluation.toy import random_ranks

METRICS: list[Metric] = [(HIT_RATE, 10), (NDCG, 10), (NLL, NO_K)]


@pytest.fixture(scope="module")
def results() -> Results:
    ranks = {
        name: random_ranks(name, shift=shift).assign(nll=3.0 + shift)
        for name, shift in (("decayed_popularity", 4), ("sasrec", 0))
    }
    means = []
    for frame in ranks.values():
        per_seed = metrics_frame(frame, (10,), 20, 0)
        means.append(seed_means_frame(frame, per_seed, (10,), 20, 0))
    return Results(
        dataset="toy",
        models=("decayed_popularity", "sasrec"),
        floors={"decayed_popularity"},
        headline=Protocol(),
        k=10,
        means=pd.concat(means, ignore_index=True),
        leaderboard=Board("toy: full ranking", ["model", "HR@10"], [["sasrec", "0.25"]], {(0, 1)}, ["A note."]),
        comparisons=pair_table({name: model_draws(frame, METRICS, 20, 0) for name, frame in ranks.items()}, METRICS),
        relative={name: relative_to_first_window(frame, METRICS[:2], 20, 0) for name, frame in ranks.items()},
        sampled=[Board("toy: sampled_legacy", ["method"], [["sasrec"]], notes=["For comparison only."])],
    )


ORIGIN = Origin(
    command="make report DATASET=toy SEEDS=2",
    commit="0123456789ab",
    trained_at=["aaaa", "bbbb"],
    seeds=(0, 1),
    split="everything before the median of time trains",
    facts=[("users", "40")],
    timings=[Timing("decayed_popularity", None, 2.0, None), Timing("sasrec", 61.0, 4.0, 1.5)],
    unit_seconds=0.02,
    unit="a product of two matrices",
)
PAGE = Page({"toy: by window": "toy-decay.png"}, {"toy-leave-one-out": "toy-leave-one-out.md"})


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def cells(text: str, first: str) -> list[str]:
    """Cells of the first table row whose first cell begins with ``first``."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_says_where_it_comes_from(results: Results):
    text = document(results, ORIGIN, PAGE)
    assert text.startswith("# toy: results\n")
    assert cells(text, "made by")[1] == "`make report DATASET=toy SEEDS=2`"
    assert cells(text, "commit")[1] == "0123456789ab"
    assert cells(text, "weights trained at")[1] == "aaaa, bbbb"
    assert cells(text, "seeds of the nets")[1] == "2 (0, 1)"
    assert cells(text, "users")[1] == "40"
    assert cells(text, "other pages")[1] == "[toy-leave-one-out](toy-leave-one-out.md)"
    assert "![toy: by window](toy-decay.png)" in text


def test_every_part_is_there_in_order(results: Results):
    assert headings(document(results, ORIGIN, PAGE)) == [
        "Headline", "Slices", "Perplexity", "Windows and decay", "Paired comparisons", "Sampled negatives", "Time",
    ]  # fmt: skip


def test_parts_without_results_are_left_out(results: Results):
    means = results.means
    bare = replace(
        results, sampled=(), means=means[~means["metric"].isin(["nll", "perplexity"])], models=("sasrec",), floors=set()
    )
    text = document(bare, replace(ORIGIN, timings=[]), Page())
    assert headings(text) == ["Headline", "Slices", "Windows and decay"]
    assert "decayed_popularity" not in text.split("## Slices")[1]


def test_slices_hold_value_interval_and_cases(results: Results):
    text = document(results, ORIGIN, PAGE).split("## Slices")[1]
    row = results.means[
        (results.means["model"] == "sasrec")
        & (results.means["slice"] == "overall")
        & (results.means["window"] == "all")
        & (results.means["metric"] == "hr")
    ].iloc[0]
    assert cells(text, "sasrec")[1] == f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    assert cells(text, "cases")[1] == str(row["n"])


def test_perplexity_stands_with_its_ratio_to_the_trend(results: Results):
    text = document(results, ORIGIN, PAGE).split("## Perplexity")[1]
    assert cells(text, "sasrec")[1] == "20.1 [20.1, 20.1]"  # exp(3)
    below = text.split("Over that of decayed_popularity")[1]
    assert cells(below, "sasrec")[1] == "0.018 [0.018, 0.018]"  # exp(3 - 7)


def test_comparisons_are_with_the_floor_and_the_papers_baselines(results: Results):
    text = document(results, ORIGIN, PAGE).split("## Paired comparisons")[1]
    assert [line for line in text.splitlines() if line.startswith("### Against")] == [
        "### Against decayed_popularity",
        "### Against sasrec",
    ]
    assert "change from the first window to 2" in text
    row = results.comparisons.query("model == 'sasrec' and window == 'all' and slice == 'overall' and metric == 'hr'")
    ratio, low, high = row.iloc[0][["ratio", "ratio_low", "ratio_high"]]
    over = text.split("| HR@10 over that of decayed_popularity, every window")[1]
    assert cells(over, "sasrec")[1] == f"{ratio:.3f} [{low:.3f}, {high:.3f}]"


def test_recommended_lists_have_a_part_where_they_were_kept(results: Results):
    held = results.means.iloc[[0]].assign(metric="coverage", slice="overall", window="all", value=0.125)
    text = document(replace(results, means=pd.concat([results.means, held])), ORIGIN, PAGE)
    assert "0.125" in text.split("## Recommended lists")[1].split("##")[0]


def test_time_is_told_in_seconds_and_in_units(results: Results):
    text = document(results, ORIGIN, PAGE).split("## Time")[1]
    assert cells(text, "sasrec")[1:] == ["61.0 (3,050)", "4.0 (200)", "1.5 (75)"]
    assert cells(text, "decayed_popularity")[1:] == ["", "2.0 (100)", ""]


def test_other_protocols_have_their_own_tables(results: Results):
    frozen = results.means.assign(user_history="frozen", item_embeddings="frozen")
    both = replace(results, means=pd.concat([results.means, frozen], ignore_index=True))
    text = document(both, ORIGIN, PAGE)
    assert "### frozen user history, frozen items" in text.split("## Other protocols")[1]


def test_equal_input_gives_equal_text(results: Results):
    assert document(results, ORIGIN, PAGE) == document(results, ORIGIN, PAGE)
