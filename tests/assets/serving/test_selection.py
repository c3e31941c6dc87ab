from typing import Any

import pytest

from assets.serving.selection import best_model


def manifest(kind: str, ndcg: float | None) -> dict[str, Any]:
    return {"kind": kind, "metrics": {"validation": {} if ndcg is None else {"ndcg@10": ndcg}}}


def test_the_best_net_wins_even_over_a_better_counting_model() -> None:
    manifests = {
        "popularity": manifest("counting", 0.9),
        "two_tower": manifest("net", 0.1),
        "sasrec": manifest("net", 0.2),
    }
    assert best_model(manifests) == "sasrec"


def test_without_a_net_the_best_counting_model_is_served() -> None:
    manifests = {"popularity": manifest("counting", 0.1), "recent_popularity": manifest("counting", 0.3)}
    assert best_model(manifests) == "recent_popularity"


def test_the_earlier_model_wins_a_tie() -> None:
    assert best_model({"b": manifest("net", 0.1), "a": manifest("net", 0.1)}) == "b"


def test_an_empty_roster_is_an_error() -> None:
    with pytest.raises(ValueError, match="roster is empty"):
        best_model({})


@pytest.mark.parametrize("ndcg", [None, float("nan")])
def test_a_model_without_a_usable_metric_is_named(ndcg: float | None) -> None:
    with pytest.raises(ValueError, match=r"sasrec has validation ndcg@10 .*train it again \(training/sasrec\)"):
        best_model({"two_tower": manifest("net", 0.1), "sasrec": manifest("net", ndcg)})
