import hashlib
import random
import socket
from pathlib import Path

import pytest

from assets.ingestion.download import ATTEMPTS, Checksum, DownloadError, download
from tests.assets.ingestion.server import Site, serving

CONTENT = random.Random(0).randbytes(700_000)
RIGHT = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


def _fetch(site: Site, target: Path, checksum: Checksum = RIGHT) -> bytes:
    return download(f"{site.address}/file", target, checksum, pause_seconds=0).read_bytes()


def test_a_whole_file_leaves_no_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Site({"/file": CONTENT})) as site:
        assert _fetch(site, tmp_path / "new" / "file") == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert "100%" in capsys.readouterr().err, "there is a progress bar"


def test_md5_is_supported(tmp_path: Path) -> None:
    with serving(Site({"/file": CONTENT})) as site:
        assert _fetch(site, tmp_path / "file", Checksum("md5", hashlib.md5(CONTENT).hexdigest())) == CONTENT


def test_an_earlier_part_is_continued(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:500_000])
    with serving(Site({"/file": CONTENT})) as site:
        assert _fetch(site, tmp_path / "file") == CONTENT
    assert site.asked == [("/file", "bytes=500000-")]


def test_a_broken_connection_is_continued(tmp_path: Path) -> None:
    with serving(Site({"/file": CONTENT}, break_after=[300_000, 100_000])) as site:
        assert _fetch(site, tmp_path / "file") == CONTENT
    starts = [int((wanted or "bytes=0-")[len("bytes=") : -1]) for _, wanted in site.asked]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] <= 300_000 < starts[2] <= 400_000


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:500_000])
    with serving(Site({"/file": CONTENT}, honours_ranges=False)) as site:
        assert _fetch(site, tmp_path / "file") == CONTENT


@pytest.mark.parametrize(
    "part", [CONTENT, CONTENT + b"more", b"x" * 500_000], ids=["whole", "too long", "of another file"]
)
def test_whatever_the_part_the_result_is_right(tmp_path: Path, part: bytes) -> None:
    (tmp_path / "file.part").write_bytes(part)
    with serving(Site({"/file": CONTENT})) as site:
        assert _fetch(site, tmp_path / "file") == CONTENT


def test_passing_server_trouble_is_sat_out(tmp_path: Path) -> None:
    with serving(Site({"/file": CONTENT}, fail_first=2)) as site:
        assert _fetch(site, tmp_path / "file") == CONTENT


def test_lasting_server_trouble_is_an_error(tmp_path: Path) -> None:
    with (
        serving(Site({"/file": CONTENT}, fail_first=99)) as site,
        pytest.raises(DownloadError, match="HTTP status 503"),
    ):
        _fetch(site, tmp_path / "file")
    assert len(site.asked) == ATTEMPTS


def test_a_wrong_checksum_keeps_nothing(tmp_path: Path) -> None:
    wrong = Checksum("sha256", "0" * 64)
    with (
        serving(Site({"/file": CONTENT})) as site,
        pytest.raises(DownloadError, match="sha256 is not the published 000"),
    ):
        _fetch(site, tmp_path / "file", wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_failed_download(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with serving(Site({"/file": CONTENT})) as site, pytest.raises(DownloadError):
        _fetch(site, tmp_path / "file", Checksum("md5", "0"))
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_missing_file_is_not_retried(tmp_path: Path) -> None:
    with serving(Site({})) as site, pytest.raises(DownloadError, match=r"/file: 404"):
        _fetch(site, tmp_path / "file")
    assert len(site.asked) == 1


def test_a_refused_connection_names_the_address(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match=address):
            download(address, tmp_path / "file", RIGHT, pause_seconds=0)
