"""The retriever on a generation that was built from a trained checkpoint, and after what landed since."""

from collections.abc import Iterator

import numpy as np
import pytest

from assets.serving.live.build import renew
from assets.serving.live.embedder import seen, user_vectors
from assets.serving.live.removal import forget_user, take_down_item
from assets.serving.retrieval.retriever import Retriever, UnknownItemError
from tests.assets.serving.live.conftest import Live, live, served_home, trained_home

__all__ = ["live", "served_home", "trained_home"]

ROWS = [("u01", "i02", "2024-03-07T10:00"), ("u02", "i07", "2024-03-07T11:00"), ("u01", "i09", "2024-03-07T12:00")]


@pytest.fixture
def retriever(live: Live) -> Iterator[Retriever]:
    with Retriever.open(live.storage, live.settings) as retriever:
        yield retriever


def everybody(retriever: Retriever, new_only: bool = False) -> dict:
    """Scores of every item for every user, and what is popular."""
    answers = retriever.recommend([*retriever.users(), "nobody"], k=1000, new_only=new_only)
    return {answer.user_id: {result.item_id: result.score for result in answer.results} for answer in answers}


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for user, scores in expected.items():
        assert found[user].keys() == scores.keys()
        assert list(found[user].values()) == pytest.approx(list(scores.values()), abs=1e-5)


def exact(live: Live, retriever: Retriever, user: str) -> dict[str, float]:
    with live.opened() as opened, opened.store.read() as reader, retriever._switch.using() as serving:
        query, hidden = user_vectors(reader, opened.model, [user], 0)[0], seen(reader, [user])[0]
        with serving.index.reading() as indexed:
            ids = [item for item in indexed.index.ids if item not in hidden]
            return dict(zip(ids, (indexed.index.vectors(ids) @ query).tolist(), strict=True))


def test_results_are_inner_products_of_user_and_item_vectors(live: Live, retriever: Retriever) -> None:
    for user in retriever.users()[:5]:
        answer = retriever.recommend([user], k=1000)[0]
        expected = exact(live, retriever, user)
        assert {result.item_id: pytest.approx(result.score, abs=1e-5) for result in answer.results} == expected
        scores = [result.score for result in answer.results]
        assert scores == sorted(scores, reverse=True)


def test_following_gives_what_opening_anew_gives(live: Live, retriever: Retriever) -> None:
    before = everybody(retriever)
    live.land(ROWS)
    live.apply()
    live.refresh()
    assert retriever.refresh().applied
    followed, followed_new = everybody(retriever), everybody(retriever, new_only=True)
    assert followed != before
    with Retriever.open(live.storage, live.settings) as anew:
        assert anew.version == retriever.version
        assert_same(followed, everybody(anew))
        assert_same(followed_new, everybody(anew, new_only=True))
    live.maintain()  # the day has moved on: a snapshot whose trends are as of the new one
    assert retriever.refresh().reloaded
    moved = everybody(retriever)
    assert {user: set(scores) for user, scores in moved.items()} == {
        user: set(found) for user, found in followed.items()
    }
    with Retriever.open(live.storage, live.settings) as anew:
        assert_same(moved, everybody(anew))


def test_what_somebody_engaged_with_is_not_recommended_again(live: Live, retriever: Retriever) -> None:
    user, item = "u01", next(iter(everybody(retriever)["u01"]))
    live.land([(user, item, "2024-03-07T10:00")])
    live.process()
    retriever.refresh()
    assert item not in everybody(retriever)[user]
    assert everybody(retriever)[user]


def test_a_new_item_is_found_by_new_only_with_its_details(live: Live, retriever: Retriever) -> None:
    live.land_items({"brand new": ("A title", None, ["crime"])})
    live.process()
    retriever.refresh()
    found = {result.item_id: result for result in retriever.recommend(["u01"], k=1000, new_only=True)[0].results}
    assert (found["brand new"].title, found["brand new"].engagements) == ("A title", 0)
    assert found["brand new"].age_days == 0
    assert found["brand new"].embedded_at is not None
    assert "brand new" in {result.item_id for result in retriever.similar("i02", k=1000).results}


def test_an_announced_item_is_not_found_before_its_time(live: Live, retriever: Retriever) -> None:
    def found(new_only: bool) -> set[str]:
        return {item for scores in everybody(retriever, new_only).values() for item in scores} & {"soon", "far"}

    live.land_items({"soon": ("S", "2024-03-09", ["crime"]), "far": ("F", "2200-01-01", ["crime"])})
    live.process()
    retriever.refresh()
    for _ in range(2):  # as the delta has it, and as a new generation
        assert found(new_only=True) == found(new_only=False) == set()
        for item in ("soon", "far"):
            with pytest.raises(UnknownItemError):
                retriever.similar(item)
        assert not live.compare()
        renew(live.storage, live.settings, live.tables, live.settings.models[0], 0, live.later())
        retriever.refresh()
    live.land([("u01", "i02", "2024-03-09T10:00")])  # the clock of the engagements moves on
    live.process()
    retriever.refresh()
    assert found(new_only=True) == found(new_only=False) == {"soon"}
    assert not live.compare()


def test_forgotten_users_and_items_taken_down_are_gone(live: Live, retriever: Retriever) -> None:
    item = next(iter(everybody(retriever)["u02"]))
    forget_user(live.storage, "u01", live.settings)
    take_down_item(live.storage, item, live.settings)
    for _ in range(2):  # before and after the index has heard of it
        answers = everybody(retriever)
        assert "u01" not in answers
        assert not any(item in scores for scores in answers.values())
        assert not retriever.recommend(["u01"])[0].has_history
        with pytest.raises(UnknownItemError):
            retriever.similar(item)
        retriever.refresh()


def test_a_rebuilt_generation_is_followed(live: Live, retriever: Retriever) -> None:
    live.land(ROWS)
    live.process()
    retriever.refresh()
    before, name = everybody(retriever), retriever.version.generation
    renew(live.storage, live.settings, live.tables, live.settings.models[0], 0, live.later())
    assert retriever.refresh().reloaded
    assert retriever.version.generation != name
    after = everybody(retriever)
    assert after.keys() == before.keys()
    for user, scores in before.items():
        np.testing.assert_allclose([after[user][item] for item in scores], list(scores.values()), atol=1e-4)


def test_why_is_asked_of_the_history(live: Live, retriever: Retriever) -> None:
    answer = retriever.recommend(["u01"], k=3, why=True)[0]
    with live.opened() as opened, opened.store.read() as reader:
        history = set(seen(reader, ["u01"])[0])
    for result in answer.results:
        assert 1 <= len(result.why) <= 3
        assert {reason.item_id for reason in result.why} <= history
        cosines = [reason.cosine for reason in result.why]
        assert cosines == sorted(cosines, reverse=True)
        assert all(-1.0001 <= cosine <= 1.0001 for cosine in cosines)


@pytest.mark.parametrize("model", ["popularity", "decayed_popularity"])
def test_counting_models_are_served_too(live: Live, model: str) -> None:
    renew(live.storage, live.settings, live.tables, model, 0, live.later())
    with Retriever.open(live.storage, live.settings) as retriever:
        live.land(ROWS)
        live.process()
        retriever.refresh()
        for user in ("u01", "u02"):
            answer = retriever.recommend([user], k=1000, why=True)[0]
            expected = exact(live, retriever, user)
            assert {result.item_id: pytest.approx(result.score, abs=1e-5) for result in answer.results} == expected
        if model == "decayed_popularity":
            popular = [result.item_id for result in retriever.recommend(["nobody"], k=5)[0].results]
            hidden = exact(live, retriever, "u01")
            assert [item for item in popular if item in hidden] == sorted(
                set(popular) & set(hidden), key=lambda item: -hidden[item]
            )
            with pytest.raises(ValueError, match="decayed_popularity has no embeddings"):
                retriever.similar("i02")
