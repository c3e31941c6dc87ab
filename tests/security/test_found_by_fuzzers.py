"""What once broke a reader (docs/fuzzing.md) is refused or read: the fuzzers' finds, tried by the default suite too."""

from pathlib import Path

import pytest

from tests.fuzz.cases import CORPUS, unframed
from tests.fuzz.readers import READERS
from tests.fuzz.trial import Trial

FOUND = sorted(CORPUS.glob("*/crash-*.case"))


def test_there_are_finds() -> None:
    assert FOUND


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_once_broke_a_reader_no_longer_does(path: Path, tmp_path: Path) -> None:
    reader = READERS[path.parent.name]
    trial = Trial(reader, tmp_path)
    trial(unframed(path.read_bytes(), reader.names))
    assert trial.outcomes.total() == 1
