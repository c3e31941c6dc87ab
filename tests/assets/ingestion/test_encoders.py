"""Text encoders: the hashing encoder against a slow one, what it is blind to, and the optional one."""

import hashlib
import math
import sys
from collections import Counter
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from assets.config import ConfigError
from assets.ingestion import encoders
from assets.ingestion.encoders import CHARACTERS, HashingEncoder, SentenceEncoder, is_blank

TITLES = ["The Matrix (1999)", "The Matrix Reloaded", "Amélie", "toy TOY toy story 2", "千と千尋の神隠し", "a"]
WHOLE = 2**64


def mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WHOLE
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WHOLE
    return value ^ (value >> 31)


def hashed(run: str) -> int:
    value = sum(ord(letter) * pow(0x9E3779B97F4A7C15, place, WHOLE) for place, letter in enumerate(run)) % WHOLE
    return mixed(value) >> 12


def slow(plain: str, dim: int, seed: int) -> list[float]:
    """The encoding of a text of lower-case words, run by run."""
    around = f" {plain} "
    runs = [around[at : at + n] for n in CHARACTERS for at in range(len(around) - n + 1)]
    total = [0.0] * dim
    for part in (plain.split(), runs):
        vector = [0.0] * dim
        for run, count in Counter(part).items():
            weight = round(1024 * (1 + math.log(count)))
            for place in range(4):
                drawn = mixed(hashed(run) ^ mixed(seed * 4 + place + 1))
                vector[(drawn >> 33) % dim] += weight if drawn & 1 else -weight
        length = math.sqrt(sum(one * one for one in vector)) or 1.0
        total = [one + other / length for one, other in zip(total, vector, strict=True)]
    length = math.sqrt(sum(one * one for one in total))
    return [one / length for one in total]


@pytest.mark.parametrize(("dim", "seed"), [(16, 0), (128, 7)])
def test_hashing_is_what_it_says(dim: int, seed: int) -> None:
    plain = ["the matrix 1999", "the matrix reloaded", "amélie", "toy toy toy story 2", "千と千尋の神隠し", "a"]
    vectors = HashingEncoder(dim=dim, seed=seed).encode(pa.array(TITLES))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [slow(text, dim, seed) for text in plain], atol=1e-6)


def test_the_same_bits_everywhere() -> None:
    """A changed digest is another encoder: every index and checkpoint made with the old one would be wrong."""
    vectors = HashingEncoder().encode(pa.array(TITLES))
    digest = hashlib.sha256(vectors.astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == "102892b3203f9fe0"


def test_a_vector_depends_on_its_own_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together = HashingEncoder().encode(pa.array(TITLES))
    monkeypatch.setattr(encoders, "ROWS_AT_ONCE", 2)
    assert np.array_equal(HashingEncoder().encode(pa.array(TITLES)), together)
    alone = np.concatenate([HashingEncoder().encode(pa.array([title])) for title in TITLES])
    assert np.array_equal(alone, together)
    assert np.array_equal(HashingEncoder().encode(pa.array(["x", *TITLES]).slice(1)), together)


def test_titles_that_share_words_are_near() -> None:
    matrix, reloaded, amelie, *_ = HashingEncoder(dim=512).encode(pa.array(TITLES))
    assert matrix @ reloaded > 0.3
    assert abs(matrix @ amelie) < 0.15
    np.testing.assert_allclose(np.linalg.norm(HashingEncoder().encode(pa.array(TITLES)), axis=1), 1, atol=1e-6)


def test_case_signs_and_kinds_of_letters_do_not_count() -> None:
    one, other = HashingEncoder().encode(pa.array(["Star-Wars: \uff25pisode IV", "  star wars episode iv!"]))
    assert np.array_equal(one, other)


def test_another_seed_is_another_projection() -> None:
    one, other = (HashingEncoder(seed=seed).encode(pa.array(TITLES[:1]))[0] for seed in (0, 1))
    assert abs(one @ other) < 0.4


def test_blank_is_what_has_neither_letter_nor_digit() -> None:
    texts = pa.array(["", None, " - ", "?!", "x", "7", "é"])
    assert is_blank(texts).tolist() == [True, True, True, True, False, False, False]


def test_a_missing_package_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"pip install sentence-transformers, or take encoder hashing"):
        SentenceEncoder(kind="sentence-transformers", model="any").encode(pa.array(["a"]))


def test_an_installed_package_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def __init__(self, name: str, device: str) -> None:
            if name == "absent":
                raise OSError("no such model")
            assert (name, device) == ("small", "cpu")

        def encode(self, texts: list[str], **options: object) -> np.ndarray:
            assert options == {"batch_size": 2, "normalize_embeddings": True, "show_progress_bar": False}
            return np.array([[len(text), 1.0] for text in texts])

    package = ModuleType("sentence_transformers")
    package.SentenceTransformer = Model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    encoder = SentenceEncoder(kind="sentence-transformers", model="small", batch_size=2)
    assert encoder.encode(pa.array(["ab", "c"])).tolist() == [[2, 1], [1, 1]]
    with pytest.raises(ConfigError, match="cannot load 'absent': no such model"):
        SentenceEncoder(kind="sentence-transformers", model="absent").encode(pa.array(["a"]))
