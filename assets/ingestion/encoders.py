"""From text to dense vectors, by encoders that fit nothing: no vector depends on any other text, nor on any cutoff.

A new encoder is a class here and a line in :data:`Encoder`.

:class:`HashingEncoder`, the default, needs no model and no network, and gives the same bits on every machine: counts
and their weights are integers, and square roots and quotients are rounded alike everywhere.
"""

import math
from abc import abstractmethod
from importlib import import_module
from typing import Annotated, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from assets.config import ConfigError, StrictModel

Float = NDArray[np.float32]
Hash = NDArray[np.uint64]

ROWS_AT_ONCE: Final = 4096
"""Texts hashed at once, 2^12: bounds memory, changes no result."""
CHARACTERS: Final = (3, 4, 5)
"""Lengths of the runs of characters that are hashed beside whole words."""
PLACES: Final = 4
"""Coordinates that a word or run adds to or subtracts from. With one, two that collide are one and the same."""
UNIT: Final = 1024
"""Weights are whole multiples of 1 / UNIT, so that sums are exact, whatever their order."""
COUNTED: Final = 255
"""A word or run that a text has more often weighs as if it had it so often."""

_BASE: Final = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
_INVERSE: Final = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_CUT: Final = np.uint64(12)
_KEPT: Final = np.uint64(52)
_LOW: Final = np.uint64(2**52 - 1)
_SPACE: Final = ord(" ")
_WEIGHTS: Final = np.array([0, *(round(UNIT * (1 + math.log(count))) for count in range(1, COUNTED + 1))], np.int64)


class TextEncoder(StrictModel):
    """Base of the encoders' options."""

    @abstractmethod
    def encode(self, texts: pa.Array) -> Float:
        """[N, C] vectors of texts [N] that are neither null nor blank.

        Raises:
            ConfigError: when the encoder cannot be had on this machine.
        """


class HashingEncoder(TextEncoder):
    """Words and runs of characters, hashed with signs and projected by a sparse sign projection.

    A text is lower-cased, and what is neither letter nor digit is a space. Each of its words w that occurs c times
    weighs 1 + ln c (sublinear term frequency), likewise its runs of 3, 4 and 5 characters, which may span words. With
    h(w) a hash of 52 bits, w adds +-weight to PLACES of the C coordinates; which ones, and their signs, are drawn by
    (h(w), seed). Words and runs are two vectors of length 1 each; their sum, scaled to length 1, is the text's vector.
    Texts without a letter or digit have none.
    """

    kind: Literal["hashing"] = "hashing"
    dim: int = Field(128, ge=8, le=4096, description="C, coordinates of a vector")
    seed: int = Field(0, ge=0, lt=2**32, description="of the projection")

    def encode(self, texts: pa.Array) -> Float:
        plain = _plain(texts)
        vectors = np.zeros((len(plain), self.dim), np.float32)
        for start in range(0, len(plain), ROWS_AT_ONCE):
            part = plain.slice(start, ROWS_AT_ONCE)
            vectors[start : start + len(part)] = self._encode(part)
        return vectors

    def _encode(self, plain: pa.Array) -> Float:
        text = _Characters(plain)
        summed = self._projected(*text.words(), len(plain)) + self._projected(*text.runs(), len(plain))
        return _unit(summed).astype(np.float32)

    def _projected(self, rows: NDArray[np.int64], hashes: Hash, count: int) -> NDArray[np.float64]:
        """[count, C] of length 1, or 0 in rows without an entry, for entries [E] of ``rows``."""
        # Row and 52 bits of the hash in one number: sorting it takes a third of what sorting by both does.
        keys, times = np.unique((rows.astype(np.uint64) << _KEPT) | (hashes >> _CUT), return_counts=True)
        weights = _WEIGHTS[np.minimum(times, COUNTED)]
        rows, hashes = (keys >> _KEPT).astype(np.int64), keys & _LOW
        total = np.zeros(count * self.dim)
        for place in range(PLACES):
            drawn = _mixed(hashes ^ _mixed(np.array([self.seed * PLACES + place + 1], np.uint64)))
            column = ((drawn >> np.uint64(33)) % np.uint64(self.dim)).astype(np.int64)
            signed = np.where(drawn & np.uint64(1), weights, -weights)
            total += np.bincount(rows * self.dim + column, signed, len(total))
        return _unit(total.reshape(count, self.dim))


class SentenceEncoder(TextEncoder):
    """A model of the package ``sentence-transformers``, which is not among Thaw's dependencies; vectors of length 1.

    The model is loaded by its name, from the network where it is not on the machine yet, or from a folder. Its vectors
    are the same to rounding only from machine to machine.
    """

    kind: Literal["sentence-transformers"]
    model: str = Field(description="name or folder of the model")
    batch_size: int = Field(64, ge=1, description="texts encoded at once")

    def encode(self, texts: pa.Array) -> Float:
        try:
            package = import_module("sentence_transformers")
        except ImportError as error:
            raise ConfigError(
                "text.encoder sentence-transformers needs the package of that name: run pip install"
                " sentence-transformers, or take encoder hashing, which needs nothing"
            ) from error
        try:
            model = package.SentenceTransformer(self.model, device="cpu")
        except (OSError, ValueError) as error:
            raise ConfigError(f"text.encoder sentence-transformers cannot load {self.model!r}: {error}") from error
        vectors = model.encode(
            texts.to_pylist(), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


Encoder = Annotated[HashingEncoder | SentenceEncoder, Field(discriminator="kind")]


class _Characters:
    """Texts [N] one after another, each between spaces, with the prefix hashes that any run's hash is made of.

    The hash of characters a .. b - 1 is sum c_i B^(i - a) modulo 2^64, mixed; it says nothing of where they stand.
    """

    def __init__(self, plain: pa.Array) -> None:
        lengths = pc.utf8_length(plain).to_numpy().astype(np.int64) + 2
        joined = f" {'  '.join(plain.to_pylist())} "
        self.codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
        self.row = np.repeat(np.arange(len(plain)), lengths)  # [T] text of each character
        terms = self.codes.astype(np.uint64) * _powers(_BASE, len(self.codes))
        self.shifts = _powers(_INVERSE, len(self.codes))
        self.prefix: Hash = np.concatenate([np.zeros(1, np.uint64), np.add.accumulate(terms)])  # [T + 1]

    def words(self) -> tuple[NDArray[np.int64], Hash]:
        """[E] text and [E] hash of every word."""
        inside = self.codes != _SPACE
        starts = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
        ends = np.flatnonzero(inside[:-1] & ~inside[1:]) + 1
        return self.row[starts], self._hashes(starts, ends)

    def runs(self) -> tuple[NDArray[np.int64], Hash]:
        """[E] text and [E] hash of every run of :data:`CHARACTERS`, the spaces around a text included."""
        rows, hashes = [], []
        for length in CHARACTERS:
            last = self.row[length - 1 :]  # texts of the runs' last characters; none where all texts are shorter
            starts = np.flatnonzero(last == self.row[: len(last)])
            rows.append(self.row[starts])
            hashes.append(self._hashes(starts, starts + length))
        return np.concatenate(rows), np.concatenate(hashes)

    def _hashes(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hash:
        runs: Hash = (self.prefix[ends] - self.prefix[starts]) * self.shifts[starts]
        return _mixed(runs)


def is_blank(texts: pa.Array) -> NDArray[np.bool_]:
    """[N] whether a text is null or has neither letter nor digit: there is nothing to encode."""
    return pc.fill_null(pc.equal(_plain(texts), ""), True).to_numpy(zero_copy_only=False)


def _plain(texts: pa.Array) -> pa.Array:
    """[N] words of texts, lower case, one space between them."""
    lower = pc.utf8_lower(pc.utf8_normalize(texts.cast(pa.string()), "NFKC"))
    return pc.utf8_trim(pc.replace_substring_regex(lower, r"[^\pL\pM\pN]+", " "), " ")


def _powers(base: np.uint64, count: int) -> Hash:
    """[count] base^0, base^1 … modulo 2^64."""
    powers = np.full(count, base)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def _mixed(values: Hash) -> Hash:
    """[E] the finalizer of SplitMix64: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled to length 1; rows of zeros stay."""
    # A loop over the columns: numpy's sum of a row may be made in another order on another machine.
    squares = np.zeros(len(vectors))
    for column in vectors.T:
        squares += column * column
    lengths = np.sqrt(squares)[:, None]
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
