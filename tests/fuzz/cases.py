"""One case: the files that a reader is given. A seed of the corpus is all of them in one file: a fuzzer of bytes can
change it, and a person can read it.

    %%%% ratings.dat
    1::1074638::7::1365029107
    %%%% movies.dat
    ...

A file that is not named is not there. What is to lie packed on disk is written unpacked, so that a change reaches the
reader behind the unpacking; content that starts with gzip's mark lies there as it is.
"""

import gzip
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

Case = Mapping[str, bytes]

_FRAME: Final = re.compile(rb"(?:\A|\n)%%%% ([A-Za-z0-9_.-]+)\n")
_GZIP: Final = b"\x1f\x8b"

CORPUS: Final = Path(__file__).parent / "corpus"


def framed(case: Case) -> bytes:
    """The case as one file."""
    return b"".join(b"%%%% " + name.encode() + b"\n" + content + b"\n" for name, content in case.items())


def unframed(data: bytes, names: Iterable[str]) -> dict[str, bytes]:
    """The files of ``names`` in what :func:`framed` made, or in what became of it; of two with one name the last."""
    known = set(names)
    parts = _FRAME.split(data.removesuffix(b"\n"))[1:]
    found = {name.decode(): content for name, content in zip(parts[::2], parts[1::2], strict=True)}
    return {name: content for name, content in found.items() if name in known}


def seeds_of(reader: str, names: Iterable[str]) -> list[Case]:
    """The corpus of a reader, by name of the seed."""
    wanted = tuple(names)
    return [unframed(path.read_bytes(), wanted) for path in sorted((CORPUS / reader).glob("*.case"))]


def packed(name: str, content: bytes) -> bytes:
    """The content as it lies on disk."""
    plain = not name.endswith(".gz") or content.startswith(_GZIP)
    return content if plain else gzip.compress(content, 1, mtime=0)


def put(folder: Path, case: Case) -> None:
    """Write the case's files into ``folder``, which holds no others."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in case.items():
        (folder / name).write_bytes(packed(name, content))
