"""Which engagements are predicted, what predictors of the past may read, and what they answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from assets.evaluation.studies import rating_baselines
from assets.evaluation.studies.rating_baselines import (
    factorization_daily,
    factorization_frozen,
    overall_before,
    rolling_average,
    rolling_biases,
)
from assets.evaluation.studies.rating_cases import groups_of, net_predictions, rating_cases
from assets.evaluation.studies.rating_predictors import NETS
from assets.ranking import Cases
from assets.stream import DatasetTables, EngagementStream, load_tables
from assets.training.past import before_cutoff
from assets.training.recommender import NetRecommender
from assets.training.train import prepare
from tests.assets.evaluation.studies.rating_toy import Rating, rating_settings, rating_tables, ratings_frame, stream_of

NAN = float("nan")
ROWS: list[Rating] = [
    ("ann", "x", "2020-01-01T01:00", 5.0),
    ("ann", "y", "2020-01-01T02:00", 3.0),
    ("bob", "x", "2020-01-01T03:00", 2.0),
    ("bob", "y", "2020-01-01T03:00", 4.0),  # at the same instant: neither knows of the other
    ("ann", "z", "2020-01-02T01:00", NAN),  # an engagement without a value
    ("cat", "x", "2020-01-02T02:00", 1.0),
    ("cat", "w", "2020-01-02T03:00", 4.0),
    ("dan", "v", "2020-01-02T04:00", 3.0),
    ("ann", "x", "2020-01-02T05:00", 4.0),  # a repeat
    ("bob", "z", "2020-01-02T06:00", 6.0),
]
CUT = np.datetime64("2020-01-02", "us")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> DatasetTables:
    return load_tables(rating_tables(tmp_path_factory.mktemp("ratings")))


def all_cases(stream: EngagementStream) -> Cases:
    days = stream.timestamps.astype("datetime64[D]").astype("datetime64[us]")
    return Cases(stream.users, stream.items, stream.timestamps, days)


def with_other_future(stream: EngagementStream, since: np.datetime64) -> EngagementStream:
    """Other values from ``since`` on."""
    late = stream.timestamps >= since
    return replace(stream, values=np.where(late, 6 - stream.values, stream.values).astype(np.float32))


def test_cases_are_known_values_of_pairs_that_are_new() -> None:
    stream, users, items = stream_of(ROWS)
    held = rating_cases(stream, CUT)
    assert [*zip(held.cases.users, held.cases.items, held.truth, strict=True)] == [
        (users["cat"], items["x"], 1.0),
        (users["cat"], items["w"], 4.0),
        (users["dan"], items["v"], 3.0),
        (users["bob"], items["z"], 6.0),
    ]
    assert (held.cases.refresh_at == CUT).all()
    assert (held.low, held.high) == (2.0, 5.0)  # of what came before, though a 1 and a 6 are among the cases


def test_no_prediction_is_beyond_the_values_of_training() -> None:
    held = rating_cases(stream_of(ROWS)[0], CUT)
    assert held.clipped(np.array([-9.0, 3.3, 9.0, 2.0])).tolist() == [2.0, 3.3, 5.0, 2.0]
    # errors 1, 0, 2 and 4 after clipping
    assert held.rmse(np.array([-9.0, 4.0, 9.0, 2.0])) == pytest.approx(np.sqrt((1 + 0 + 4 + 16) / 4))


def test_a_dataset_without_ratings_is_refused() -> None:
    alike, *_ = stream_of([(*row[:3], 1.0) for row in ROWS])
    with pytest.raises(ValueError, match="no ratings to predict"):
        rating_cases(alike, CUT)
    with pytest.raises(ValueError, match="nothing to predict"):
        rating_cases(stream_of(ROWS)[0], np.datetime64("2020-02-01", "us"))


def test_groups_by_what_is_known() -> None:
    stream, *_ = stream_of(ROWS)
    groups = groups_of(rating_cases(stream, CUT), stream, CUT)
    assert {name: rows.tolist() for name, rows in groups.items()} == {
        "all": [0, 1, 2, 3],
        "user in training": [3],
        "user later, with history": [1],
        "user without history": [0, 2],
        "item in training": [0],
        "item later": [1, 2, 3],
    }


def test_rolling_average_and_its_fallbacks_by_hand() -> None:
    stream, *_ = stream_of(ROWS)
    held = rating_cases(stream, CUT)
    expected = [
        (5 + 2) / 2,  # cat is new: the item alone
        1.0,  # w is new: the user alone
        (5 + 3 + 2 + 4 + 1 + 4) / 6,  # both are new: everything so far
        (2 + 4) / 2,  # z had an engagement, but no value
    ]
    assert rolling_average(stream, held.cases).tolist() == pytest.approx(expected)
    later = Cases(*(np.array([each]) for each in (stream.users[2], stream.items[0], np.datetime64("2020-01-03"), CUT)))
    # bob has 2, 4 and 6, and x has 5, 2, 1 and 4
    assert rolling_average(stream, later)[0] == pytest.approx((12 / 3 + 3) / 2)


def test_what_happens_at_one_instant_does_not_know_of_itself() -> None:
    stream, users, _ = stream_of(ROWS)
    bob = np.flatnonzero(stream.users == users["bob"])[:2]
    assert rolling_average(stream, all_cases(stream).take(bob)).tolist() == [5.0, 3.0]  # the items alone
    assert overall_before(stream, stream.timestamps[bob]).tolist() == [4.0, 4.0]
    assert np.isnan(overall_before(stream, stream.timestamps[:1])[0])


def test_rolling_biases_equal_a_naive_loop(tables: DatasetTables) -> None:
    stream = replace(tables.stream, values=tables.stream.values.copy())
    stream.values[::17] = np.nan
    some = np.arange(100, 400, 7)

    def deviations(rows: np.ndarray, at: np.datetime64, of: np.ndarray, who: int, item_too: bool) -> list[float]:
        found = []
        for row in np.flatnonzero((of == who) & (stream.timestamps < at) & ~np.isnan(stream.values)):
            instant = stream.timestamps[row]
            earlier = stream.values[stream.timestamps < instant]
            if not (~np.isnan(earlier)).any():
                continue
            own = float(stream.values[row]) - float(np.nanmean(earlier.astype(np.float64)))
            found.append(own - (item_bias(int(stream.items[row]), instant) if item_too else 0.0))
        return found

    def item_bias(item: int, at: np.datetime64) -> float:
        found = deviations(some, at, stream.items, item, item_too=False)
        return sum(found) / (len(found) + 3.0)

    expected = []
    for row in some:
        at = stream.timestamps[row]
        beyond = deviations(some, at, stream.users, int(stream.users[row]), item_too=True)
        mean = float(np.nanmean(stream.values[stream.timestamps < at].astype(np.float64)))
        expected.append(mean + item_bias(int(stream.items[row]), at) + sum(beyond) / (len(beyond) + 4.0))
    assert rolling_biases(stream, all_cases(stream).take(some), 3.0, 4.0).tolist() == pytest.approx(expected)


def test_factorization_learns_from_before_the_cutoff_alone(tables: DatasetTables) -> None:
    stream, cutoff = tables.stream, tables.cutoff
    held = rating_cases(stream, cutoff)
    first = factorization_frozen(stream, held, cutoff, 0)
    assert (factorization_frozen(with_other_future(stream, cutoff), held, cutoff, 0) == first).all()
    assert (factorization_frozen(stream, held, cutoff, 1) != first).any()
    assert (
        factorization_frozen(with_other_future(stream, cutoff - np.timedelta64(2, "D")), held, cutoff, 0) != first
    ).any()


def test_factorization_answers_with_the_mean_for_whom_it_does_not_know() -> None:
    known = [("ann", "x", f"2020-01-01T{hour:02d}:00", 4.0 if hour % 2 else 2.0) for hour in range(4)]
    stream, *_ = stream_of([*known, ("new", "other", "2020-01-02T01:00", 5.0)])
    assert factorization_frozen(stream, rating_cases(stream, CUT), CUT, 0).tolist() == [3.0]


def test_daily_factorization_is_fitted_on_what_came_before_the_day(
    tables: DatasetTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rating_baselines, "FACTORIZATION", {"n_factors": 2, "n_epochs": 3})
    stream, cutoff = tables.stream, tables.cutoff
    held, day = rating_cases(stream, cutoff), np.timedelta64(1, "D")
    first = factorization_daily(stream, held, 0)
    assert np.isfinite(first).all()
    second_day = cutoff + day
    other = factorization_daily(with_other_future(stream, second_day), held, 0)
    until_then = held.cases.refresh_at <= second_day  # the second day itself is not known at its start
    assert (other[until_then] == first[until_then]).all()
    assert (other[~until_then] != first[~until_then]).any()
    on_first = held.cases.refresh_at == cutoff
    assert (first[on_first] == factorization_frozen(stream, held, cutoff, 0)[on_first]).all()
    assert (first[~on_first] != factorization_frozen(stream, held, cutoff, 0)[~on_first]).any()


def untrained(name: str, tables: DatasetTables, home: Path, **of_net: object) -> NetRecommender:
    config = NETS[name]
    config = config.model_copy(update={"net": config.net.model_copy(update=of_net)})
    past = before_cutoff(tables)
    torch.manual_seed(0)
    ready = prepare(config, tables, past.stream, tables.cutoff, rating_settings(home))
    for parameter in ready.net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return NetRecommender(ready.net, ready.batches.refresher)


def test_a_net_answers_each_case_from_its_own_past(tables: DatasetTables, tmp_path: Path) -> None:
    model, held = untrained("hrnn, feedback", tables, tmp_path), rating_cases(tables.stream, tables.cutoff)
    together = net_predictions(model, held.cases, tables.stream)
    mean, std = tables.stream.before(tables.cutoff).values.mean(), tables.stream.before(tables.cutoff).values.std()
    for row in range(0, len(held), 29):
        case = held.cases.take(np.array([row]))
        past = tables.stream.before(case.timestamps[0])  # nothing of the instant itself
        alone = net_predictions(model, case, past)
        assert together[row] == pytest.approx(alone[0], rel=1e-4)
        items = model.item_vectors(past.before(case.refresh_at[0]), case.refresh_at[0])
        user = model.user_vectors(past.queries(case.users, case.timestamps, model.history_length), items)[0]
        standardized = float(user @ items[int(case.items[0])])
        assert together[row] == pytest.approx(mean + std * standardized, rel=1e-4)


def test_feedback_reads_earlier_values_and_no_later_ones(tables: DatasetTables, tmp_path: Path) -> None:
    held, since = rating_cases(tables.stream, tables.cutoff), tables.cutoff + np.timedelta64(90, "m")
    changed = with_other_future(tables.stream, since)
    for name, reads in (("gru, feedback", True), ("gru", False)):
        model = untrained(name, tables, tmp_path)
        first, other = (net_predictions(model, held.cases, stream) for stream in (tables.stream, changed))
        same = first == other
        assert same[held.cases.timestamps <= since].all()
        assert (~same).any() == reads


def test_a_net_that_ranks_predicts_no_values(tables: DatasetTables, tmp_path: Path) -> None:
    model = untrained("gru", tables, tmp_path, loss="full_softmax")
    with pytest.raises(TypeError, match="squared_error"):
        net_predictions(model, rating_cases(tables.stream, tables.cutoff).cases, tables.stream)


def test_the_toy_has_levels_that_only_earlier_values_tell() -> None:
    frame = ratings_frame()
    assert len(frame) == 1536
    spread = frame.groupby("user_id")["value"].mean()
    assert ((spread < 2.8) | (spread > 3.2)).mean() > 0.95
