from dataclasses import replace

import numpy as np

from assets.ingestion.simulation.options import SimulatedOptions
from assets.ingestion.simulation.tastes import REVERSION, Tastes, TopicDraw

USERS, TOPICS = 4_000, 5
SCALE = SimulatedOptions(users=USERS, topics=TOPICS, drift=0.1).scale
HOME = np.zeros((USERS, TOPICS), np.float32)
EVERYBODY = np.arange(USERS)


def test_a_taste_wanders_as_far_when_its_user_comes_seldom_as_when_he_comes_daily() -> None:
    rng = np.random.default_rng(0)
    daily, seldom = Tastes(SCALE), Tastes(SCALE)
    for day in range(40):
        often = daily.of(rng, EVERYBODY, HOME, day)
    rare = seldom.of(rng, EVERYBODY, HOME, 39)
    expected = 0.1 * np.sqrt(sum((1 - REVERSION) ** (2 * step) for step in range(40)))
    for logits in (often, rare):
        assert abs(logits.mean()) < 0.02
        assert abs(logits.std() / expected - 1) < 0.03


def test_a_taste_is_remembered_between_visits() -> None:
    rng, tastes = np.random.default_rng(0), Tastes(SCALE)
    first = tastes.of(rng, EVERYBODY, HOME, 50)
    again = tastes.of(rng, EVERYBODY, HOME, 50)
    np.testing.assert_array_equal(first, again)
    later = tastes.of(rng, EVERYBODY, HOME, 60)
    assert np.corrcoef(first.ravel(), later.ravel())[0, 1] > 0.7


def test_without_drift_everybody_stays_at_home() -> None:
    rng, tastes = np.random.default_rng(0), Tastes(replace(SCALE, drift=0.0))
    home = rng.normal(size=HOME.shape).astype(np.float32)
    tastes.begin(rng)
    np.testing.assert_array_equal(tastes.of(rng, EVERYBODY, home, 9), home)


def test_fashion_is_shared_by_all() -> None:
    rng, tastes = np.random.default_rng(0), Tastes(SCALE)
    before = tastes.of(rng, EVERYBODY[:3], HOME, 0)
    tastes.begin(rng)
    moved = tastes.of(rng, EVERYBODY[:3], HOME, 0) - before
    assert np.abs(moved).min() > 0
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-6)


def test_topics_are_drawn_by_the_softmax_of_each_row() -> None:
    logits = np.array([[0.0, 1.0, 2.0], [5.0, 5.0, -40.0]], np.float32)
    positions = (np.arange(9_000) + 0.5) / 9_000
    topics = TopicDraw(logits)
    for row in range(2):
        found = np.bincount(topics.at(np.full(9_000, row), positions), minlength=3) / 9_000
        softmax = np.exp(logits[row].astype(float)) / np.exp(logits[row].astype(float)).sum()
        np.testing.assert_allclose(found, softmax, atol=1e-3)
