from unittest.mock import patch

import numpy as np

from assets.serving.ivf_index import IvfIndex
from assets.serving.retrieval import find
from assets.serving.retrieval.live_index import Indexed


def test_the_trend_plays_no_part_in_what_is_near() -> None:
    """Two dimensions and a trend; only one candidate is looked at."""
    index = IvfIndex(3)
    vectors = np.array([[1, 0, 5], [0.9, 0.1, -5], [0, 1, 50], [-1, 0, 90]], np.float32)
    index.build(["asked", "near", "trendy", "opposite"], vectors)
    with patch.object(find, "NEAR", 1), patch.object(find, "SPARE", 0):
        ((item, score),) = find.nearest(Indexed(index, 0), 2, "asked", 1, [])
        ((second, _),) = find.nearest(Indexed(index, 0), 2, "asked", 1, ["near", "nowhere"])
    assert (item, second) == ("near", "trendy")
    assert np.isclose(score, 0.9 / np.hypot(0.9, 0.1))
    assert index.vectors(["asked"]).tolist() == [[1, 0, 5]]
