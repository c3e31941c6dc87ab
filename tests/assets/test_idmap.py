from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from assets.idmap import OOV, IdMap


def test_known_ids_count_from_one_and_unknown_ones_are_oov() -> None:
    ids = IdMap.fit(["b", "a", "b", "10", "9"])
    assert ids.ids == ("10", "9", "a", "b")
    assert ids.size == 5
    assert ids.encode(["a", "zzz", "10", "b", ""]).tolist() == [3, OOV, 1, 4, OOV]
    assert ids.encode([]).dtype == np.int64


def test_an_id_that_looks_like_a_number_is_not_a_row() -> None:
    assert IdMap.fit(["a", "b"]).encode(["0", "1"]).tolist() == [OOV, OOV]


def test_an_empty_map_knows_nobody() -> None:
    ids = IdMap.fit([])
    assert ids.size == 1
    assert ids.encode(["a"]).tolist() == [OOV]


@given(st.lists(st.text()), st.lists(st.text()))
def test_encoding_is_one_to_one_on_the_known_and_oov_on_the_rest(known: list[str], others: list[str]) -> None:
    ids = IdMap.fit(known)
    codes = ids.encode(ids.ids)
    assert codes.tolist() == list(range(1, ids.size))
    for item, code in zip(others, ids.encode(others).tolist(), strict=True):
        assert code == (ids.ids.index(item) + 1 if item in known else OOV)


def test_order_of_the_data_does_not_matter_and_the_digest_tells_maps_apart() -> None:
    assert IdMap.fit("abc").digest == IdMap.fit("cbaabc").digest
    digests = {IdMap.fit(values).digest for values in (["a", "b"], ["ab"], ["a"], [], ["a", "b", "c"])}
    assert len(digests) == 5


def test_a_saved_map_comes_back(tmp_path: Path) -> None:
    for ids in (IdMap.fit(["b", "é", "1"]), IdMap.fit([])):
        ids.save(tmp_path / "ids.parquet")
        loaded = IdMap.load(tmp_path / "ids.parquet")
        assert loaded == ids
        assert loaded.digest == ids.digest
