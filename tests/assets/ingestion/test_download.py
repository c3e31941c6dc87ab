import hashlib
import io
import random
import socket
import threading
from pathlib import Path

import pytest
import requests
import urllib3

from assets.ingestion.download import ATTEMPTS, Checksum, DownloadError, download
from tests.assets.ingestion.server import Site, serving

CONTENT = random.Random(0).randbytes(700_000)
RIGHT = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


def _fetch(site: Site, target: Path, checksum: Checksum | None = RIGHT) -> bytes:
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


OTHER = bytes(len(CONTENT))
"""Another version of the file, of the same length."""

TAG, DATE = {"ETag": '"one"'}, {"Last-Modified": "Sun, 01 Nov 2026 10:00:00 GMT"}


def _interrupt(site: Site, target: Path, after: int) -> None:
    """A download whose connection breaks at every attempt."""
    broken = Site(site.files, break_after=[after, *[0] * ATTEMPTS], named=site.named)
    with serving(broken), pytest.raises(DownloadError, match="broke off"):
        _fetch(broken, target, None)


@pytest.mark.parametrize("named", [TAG, DATE, TAG | DATE], ids=["tag", "date", "both"])
def test_a_part_of_a_named_version_is_continued_without_a_checksum(tmp_path: Path, named: dict[str, str]) -> None:
    site = Site({"/file": CONTENT}, named=named)
    _interrupt(site, tmp_path / "file", 300_000)
    have = (tmp_path / "file.part").stat().st_size
    with serving(site):
        assert _fetch(site, tmp_path / "file", None) == CONTENT
    assert 0 < have <= 300_000
    assert site.asked == [("/file", f"bytes={have}-")]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("honours", [True, False], ids=["heeded", "ignored"])
@pytest.mark.parametrize(
    ("former", "later"),
    [(TAG, {"ETag": '"two"'}), (DATE, {"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}), (TAG, {})],
    ids=["tag", "date", "none any more"],
)
@pytest.mark.parametrize("checksum", [None, Checksum("sha256", hashlib.sha256(OTHER).hexdigest())])
def test_versions_are_never_mixed(
    tmp_path: Path, former: dict[str, str], later: dict[str, str], honours: bool, checksum: Checksum | None
) -> None:
    _interrupt(Site({"/file": CONTENT}, named=former), tmp_path / "file", 300_000)
    with serving(Site({"/file": OTHER}, named=later, honours_conditions=honours)) as site:
        assert _fetch(site, tmp_path / "file", checksum) == OTHER
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("named", [{}, {"ETag": 'W/"weak"'}], ids=["unnamed", "weakly named"])
def test_without_a_version_or_a_checksum_a_download_starts_again(tmp_path: Path, named: dict[str, str]) -> None:
    _interrupt(Site({"/file": CONTENT}, named=named), tmp_path / "file", 300_000)
    with serving(Site({"/file": OTHER}, named=named)) as site:
        assert _fetch(site, tmp_path / "file", None) == OTHER
    assert site.asked == [("/file", None)]


def test_a_part_that_is_whole_is_not_believed_without_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(OTHER)
    (tmp_path / "file.part.version").write_text('"one"')
    with serving(Site({"/file": CONTENT}, named=TAG)) as site:
        assert _fetch(site, tmp_path / "file", None) == CONTENT


@pytest.mark.parametrize("damage", ["", "\0\0\0", "x\r\nHost: elsewhere", " x"])
def test_a_damaged_note_of_the_version_is_none(tmp_path: Path, damage: str) -> None:
    (tmp_path / "file.part").write_bytes(OTHER[:1000])
    (tmp_path / "file.part.version").write_text(damage)
    with serving(Site({"/file": CONTENT}, named=TAG)) as site:
        assert _fetch(site, tmp_path / "file", None) == CONTENT


class Hops(requests.adapters.HTTPAdapter):
    """Answers without a network: addresses and where they lead, the last one to a file."""

    def __init__(self, path: list[str]) -> None:
        super().__init__()
        self.next = dict(zip(path, [*path[1:], ""], strict=True))

    def send(self, request: requests.PreparedRequest, **_: object) -> requests.Response:  # type: ignore[override]
        there = self.next[request.url or ""]
        headers, status = ({"Location": there}, 302) if there else ({"Content-Length": "4"}, 200)
        body = urllib3.HTTPResponse(io.BytesIO(b"file"), headers=headers, status=status, preload_content=False)
        return self.build_response(request, body)


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (["https://a/f", "https://b/f"], None),
        (["http://a/f", "https://b/f", "http://c/f"], None),
        (["https://a/f", "http://b/f"], "http://b/f"),
        (["https://a/f", "http://b/f", "https://c/f"], "http://b/f"),
    ],
)
def test_a_way_by_plain_http_is_refused_where_https_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: list[str], plain: str | None
) -> None:
    monkeypatch.setattr(requests.Session, "get_adapter", lambda *_, **__: Hops(path))
    if plain is None:
        assert download(path[0], tmp_path / "file", None).read_bytes() == b"file"
        return
    with pytest.raises(DownloadError, match=f"{path[0]}: leads to {plain}, which anybody on the way"):
        download(path[0], tmp_path / "file", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", ["10, 10", "10, 11", "ten", "-10", "+10", "1" * 5000])
def test_a_length_that_is_no_number_is_a_download_error(tmp_path: Path, length: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    f'HTTP/1.1 200 OK\r\nETag: "one"\r\nContent-Length: {length}\r\n\r\n0123456789'.encode()
                )

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(DownloadError, match=r"(?i)127\.0\.0\.1.*length"):
            download(f"http://127.0.0.1:{listening.getsockname()[1]}/file", tmp_path / "file", None, pause_seconds=0)
        thread.join()
    assert list(tmp_path.iterdir()) == []
