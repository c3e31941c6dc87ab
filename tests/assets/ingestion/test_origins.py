import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from assets.ingestion.datasets import ml_100k, movietweetings_100k
from assets.ingestion.download import Checksum
from assets.ingestion.errors import IngestionError
from assets.ingestion.origins import Generated, OwnFiles, Published, Remote, SourceFile
from assets.storage import file_digest
from tests.assets.ingestion.layouts import write
from tests.assets.ingestion.server import Site, serving

FILES = {"a.dat": b"alpha", "b.dat": b"beta"}
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in files.items():
            opened.writestr(f"set/{name}", content)
    return buffer.getvalue()


ZIP = _zip(FILES)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _archived(address: str) -> Published:
    files = tuple(SourceFile(name, _sha256(text), len(text), f"set/{name}") for name, text in FILES.items())
    return Published((Remote(f"{address}/set.zip", Checksum("md5", hashlib.md5(ZIP).hexdigest()), files),))


def _single(address: str) -> Published:
    return Published(
        tuple(
            Remote(
                f"{address}/{name}",
                Checksum("sha256", _sha256(text)),
                (SourceFile(name, _sha256(text), len(text)),),
            )
            for name, text in FILES.items()
        )
    )


def test_an_archive_is_downloaded_verified_and_unpacked_once(tmp_path: Path) -> None:
    with serving(Site({"/set.zip": ZIP})) as site:
        for _ in range(2):
            located = _archived(site.address).locate("set", None, tmp_path / "cache")
    assert len(site.asked) == 1, "the second time the cache serves"
    assert located.source == "download"
    assert {name: (located.folder / name).read_bytes() for name in FILES} == FILES
    assert {path.name for path in located.folder.iterdir()} == {*FILES, "downloaded.json"}, "the archive is not kept"
    assert located.digests == {name: _sha256(text) for name, text in FILES.items()}


def test_single_files_are_downloaded_and_a_damaged_one_again(tmp_path: Path) -> None:
    with serving(Site({f"/{name}": text for name, text in FILES.items()})) as site:
        _single(site.address).locate("set", None, tmp_path)
        (tmp_path / "b.dat").write_bytes(b"rot")
        _single(site.address).locate("set", None, tmp_path)
    assert [path for path, _ in site.asked] == ["/a.dat", "/b.dat", "/b.dat"]
    assert (tmp_path / "b.dat").read_bytes() == b"beta"


def test_files_without_published_digests_are_held_to_what_they_were_when_they_came(tmp_path: Path) -> None:
    files = tuple(SourceFile(name, member=f"set/{name}") for name in FILES)
    with serving(Site({"/set.zip": ZIP})) as site:
        remote = Remote(f"{site.address}/set.zip", Checksum("md5", hashlib.md5(ZIP).hexdigest()), files)
        first = Published((remote,)).locate("set", None, tmp_path)
        assert first.digests == {name: _sha256(text) for name, text in FILES.items()}
        assert Published((remote,)).locate("set", None, tmp_path) == first
        assert len(site.asked) == 1
        (tmp_path / "a.dat").write_bytes(b"rot")
        Published((remote,)).locate("set", None, tmp_path)
    assert len(site.asked) == 2
    assert (tmp_path / "a.dat").read_bytes() == b"alpha"


def test_an_address_without_a_checksum_is_taken_as_it_is(tmp_path: Path) -> None:
    with serving(Site({"/a.dat": b"alpha"})) as site:
        origin = Published((Remote(f"{site.address}/a.dat", None, (SourceFile("a.dat"),)),))
        assert origin.locate("set", None, tmp_path).digests == {"a.dat": _sha256(b"alpha")}
    local = write(tmp_path / "local" / "set", {"a.dat": b"another day's"})
    located = origin.locate("set", tmp_path / "local", tmp_path)
    assert (located.folder, located.source, located.warnings) == (local, "local copy", ())


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "damaged"])
@pytest.mark.parametrize("member", [None, "set/a.dat"], ids=["file", "archive"])
def test_what_came_without_a_checksum_is_held_to_what_it_was_when_it_came_first(
    tmp_path: Path, is_gone: bool, member: str | None
) -> None:
    path = "/set.zip" if member else "/a.dat"
    with serving(Site({path: ZIP if member else b"alpha"})) as site:
        origin = Published((Remote(f"{site.address}{path}", None, (SourceFile("a.dat", member=member),)),))
        first = origin.locate("set", None, tmp_path)
        note = (tmp_path / "downloaded.json").read_bytes()

        def lose() -> None:
            (tmp_path / "a.dat").unlink(missing_ok=True)
            if not is_gone:
                (tmp_path / "a.dat").write_bytes(b"rot")

        lose()
        assert origin.locate("set", None, tmp_path) == first  # the same is served again
        site.files[path] = _zip({"a.dat": b"omega"}) if member else b"omega"
        lose()
        for _ in range(2):
            with pytest.raises(IngestionError, match=r"serves a\.dat with .*remove .*downloaded\.json and run again"):
                origin.locate("set", None, tmp_path)
            assert [held.name for held in tmp_path.iterdir()] == ["downloaded.json"]
        assert (tmp_path / "downloaded.json").read_bytes() == note
        (tmp_path / "downloaded.json").unlink()
        assert origin.locate("set", None, tmp_path).digests == {"a.dat": _sha256(b"omega")}


def test_a_member_of_another_content_is_not_kept(tmp_path: Path) -> None:
    wrong = SourceFile("a.dat", "0" * 64, 5, "set/a.dat")
    with serving(Site({"/set.zip": ZIP})) as site:
        remote = Remote(f"{site.address}/set.zip", Checksum("md5", hashlib.md5(ZIP).hexdigest()), (wrong,))
        with pytest.raises(IngestionError, match=r"a\.dat does not have the published SHA-256"):
            Published((remote,)).locate("set", None, tmp_path)
    assert not (tmp_path / "a.dat").exists()


@pytest.mark.parametrize("data_dir", [None, Path("somewhere")])
def test_without_a_network_the_error_says_both_ways_out(tmp_path: Path, data_dir: Path | None) -> None:
    local = tmp_path / data_dir if data_dir else None
    with pytest.raises(IngestionError) as caught:
        _single(CLOSED).locate("set", local, tmp_path / "cache")
    message = str(caught.value)
    assert "connect to the network" in message
    assert f"put a.dat, b.dat into {local / 'set' if local else '<folder>/set'} and set THAW_DATA_DIR" in message
    assert f"{CLOSED}/a.dat" in message


def test_a_local_copy_comes_first_and_a_differing_file_is_a_warning(tmp_path: Path) -> None:
    folder = write(tmp_path / "local" / "set", {"a.dat": b"alpha", "b.dat": b"trimmed"})
    located = _single(CLOSED).locate("set", tmp_path / "local", tmp_path / "cache")
    assert (located.folder, located.source) == (folder, "local copy")
    assert located.warnings == ("b.dat: differs from the published file (SHA-256)",)
    assert located.digests["b.dat"] == file_digest(folder / "b.dat")


def test_an_incomplete_local_copy_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set", {"a.dat": b"alpha"})
    with pytest.raises(IngestionError, match=r"b\.dat: missing from .*/set; put the official files there"):
        _single(CLOSED).locate("set", tmp_path, tmp_path / "cache")


def test_own_files_say_where_to_put_them(tmp_path: Path) -> None:
    origin = OwnFiles(("one", "two"), ("csv", "parquet"))
    with pytest.raises(IngestionError, match=r"put one\.\{csv,parquet\}, two\.\{csv,parquet\}.*into <folder>/files"):
        origin.locate("files", None, tmp_path)
    with pytest.raises(IngestionError, match=r"into .*/files and set THAW_DATA_DIR"):
        origin.locate("files", tmp_path, tmp_path)
    write(tmp_path / "files", {"two.csv": b"x"})
    assert origin.locate("files", tmp_path, tmp_path).digests == {"two.csv": _sha256(b"x")}


def test_generated_data_needs_nothing(tmp_path: Path) -> None:
    assert Generated().locate("simulated", None, tmp_path).source == "generated"


def test_official_addresses_and_files() -> None:
    assert [file.name for file in ml_100k.ORIGIN.files] == ["u.data", "u.item", "u.user"]
    assert [remote.url for remote in ml_100k.ORIGIN.remotes] == [
        "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    ]
    assert [remote.url.rsplit("/", 2)[1:] for remote in movietweetings_100k.ORIGIN.remotes] == [
        ["100K", "ratings.dat"],
        ["100K", "movies.dat"],
        ["100K", "users.dat"],
    ]
