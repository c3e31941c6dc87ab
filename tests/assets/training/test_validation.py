from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from assets.stream import DatasetTables, EngagementStream, Queries
from assets.training.loop import Fitted, fit
from assets.training.past import before_cutoff
from assets.training.presets import FitPreset
from assets.training.validation import validator
from models.registry import NETS
from tests.assets.training.test_loop import Line, Source


@dataclass(frozen=True)
class Fixed:
    """Scores every item by a fixed number."""

    scores: dict[str, float]
    tables: DatasetTables
    history_length: int = 1

    def item_vectors(self, known: EngagementStream, instant: np.datetime64) -> torch.Tensor:
        assert (known.timestamps < instant).all()
        return torch.tensor([[self.scores[item]] for item in self.tables.catalog.item_ids])

    def user_vectors(self, queries: Queries, items: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(queries), 1)


def test_cases_have_history_and_are_no_repeats(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    cases = validator(past, seed=0).cases
    users, items = past.users["user_id"].to_numpy(), past.catalog.item_ids
    # cat's first has no history, ann's is a repeat
    assert list(zip(users[cases.users], items[cases.items], strict=True)) == [("bob", "v"), ("cat", "w")]
    assert (cases.refresh_at == np.datetime64("2024-01-03")).all()


def test_metrics_by_hand(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    scores = {"x": 5.0, "w": 4.0, "y": 3.0, "z": 3.0, "v": 3.0}
    metrics = validator(past, seed=0)(Fixed(scores, past))
    # bob -> v (not available at the refresh, still scored): w above, z tied, x and y seen: place 1 or 2, equally
    # likely. cat -> w: x seen, nothing above: place 0.
    bob = (1 / np.log2(3) + 1 / np.log2(4)) / 2
    assert metrics["ndcg@10"] == pytest.approx((bob + 1) / 2)
    assert metrics["hr@10"] == 1


def test_the_likelihood_is_over_what_is_ranked(tables: DatasetTables) -> None:
    """That of cat's target among w, y and z, as in the losses: x is seen, v comes later and so has no likelihood."""
    past = before_cutoff(tables)
    scores = {"x": 5.0, "w": 4.0, "y": 3.0, "z": 3.0, "v": 3.0}
    metrics = validator(past, seed=0)(Fixed(scores, past))
    assert metrics["log_likelihood"] == pytest.approx(4 - np.log(np.exp(4) + 2 * np.exp(3)))


def test_without_a_target_on_the_catalog_there_is_no_likelihood_and_no_choice_by_it(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    check = validator(past, seed=0)
    check = replace(check, cases=check.cases.take(np.array([0])))  # bob -> v, which comes after the refresh
    scores = {"x": 5.0, "w": 4.0, "y": 3.0, "z": 3.0, "v": 3.0}
    metrics = check(Fixed(scores, past))
    assert np.isnan(metrics["log_likelihood"])
    assert metrics["ndcg@10"] > 0

    def fitted(monitor: str, keep: str = "best") -> Fitted:
        preset = FitPreset(max_epochs=2, keep=keep, net=NETS["sasrec"])
        return fit(Line(), Source(), preset, "cpu", 2, lambda _: metrics, monitor)

    with pytest.raises(FloatingPointError, match=r"validation log_likelihood is nan in epoch 1.*monitor to ndcg@10"):
        fitted("log_likelihood")
    assert fitted("ndcg@10").best_epoch == 1
    assert fitted("log_likelihood", keep="last").best_epoch == 2  # nothing is chosen


def test_sampling_is_seeded_and_bounded(tables: DatasetTables) -> None:
    past = before_cutoff(tables)
    chosen = [validator(past, seed, max_cases=1).cases.users.tolist() for seed in (0, 0, 1, 2, 3, 4, 5)]
    assert all(len(one) == 1 for one in chosen)
    assert chosen[0] == chosen[1]
    assert len({tuple(one) for one in chosen}) == 2


def test_no_case_is_an_error(tables: DatasetTables) -> None:
    past = replace(before_cutoff(tables), validation_start=np.datetime64("2024-01-03T23:00", "us"))
    with pytest.raises(ValueError, match=r"raise split\.validation_fraction"):
        validator(past, seed=0)
