"""Sets of labels; the map from ids to labels is tested by the indexes that use it."""

import numpy as np

from assets.serving.labels import MISSING, LabelSet


def of(*labels: int) -> LabelSet:
    made = LabelSet()
    made.add(np.array(labels, np.int64))
    return made


def test_an_empty_set_holds_nothing() -> None:
    held = of()
    assert len(held) == 0
    assert held.contains(np.array([MISSING, 0, 7])).tolist() == [False, False, False]


def test_labels_come_and_go() -> None:
    held = of(5, 2, 2)
    held.discard(np.array([5, 900]))
    held.add(np.array([70]))
    assert held.labels.tolist() == [2, 70]
    assert len(held) == 2


def test_any_shape_is_looked_up_and_missing_is_in_none() -> None:
    asked = np.array([[MISSING, 3], [4, 10_000]])
    assert of(3, 4).contains(asked).tolist() == [[False, True], [True, False]]


def test_the_rest_of_a_set_is_another_one() -> None:
    held = of(1, 2, 3)
    assert held.without(np.array([2, 50])).labels.tolist() == [1, 3]
    assert held.labels.tolist() == [1, 2, 3]
