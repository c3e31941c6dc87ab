"""Bombs and traps in what is downloaded or read as a dataset: each is refused by the defaults or by small bounds."""

import bz2
import gzip
import io
import pickle
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config import ConfigError, LimitsConfig, load_settings
from assets.ingestion.archive import extract_member
from assets.ingestion.datasets import mapped
from assets.ingestion.download import DownloadError, download
from assets.ingestion.errors import IngestionError
from assets.ingestion.json_lines import lines_of, read_json_lines
from assets.ingestion.limits import RATIO_FROM, within
from assets.ingestion.parquet_rows import read_parquet_blocks, read_parquet_rows
from assets.ingestion.registry import find
from assets.ingestion.rows import read_csv
from assets.ingestion.source_text import read_text
from assets.storage import Storage
from tests.assets.ingestion.server import Site, serving

ZEROS = RATIO_FROM + (1 << 20)
"""Bytes that deflate packs to a thousandth: more than the ratio allows, from where it counts."""

SMALL = LimitsConfig(
    download_bytes=1000, archive_members=5, unpacked_bytes=5000, columns=8, rows=100, row_groups=3, table_bytes=10_000
)


class Trap:
    """Unpickling it makes the file it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def packed() -> bytes:
    return gzip.compress(bytes(ZEROS), 1)


def test_a_gzip_bomb_is_refused(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "interactions.csv.gz").write_bytes(packed)
    with pytest.raises(IngestionError, match=r"interactions\.csv\.gz: unpacks to more than .*limits\.unpacked_ratio"):
        read_text(tmp_path / "interactions.csv.gz", "utf-8")


def test_a_gzip_bomb_of_json_is_refused_in_blocks_and_in_lines(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "a.json.gz").write_bytes(packed)
    for reading in (
        lambda path: read_json_lines(path, pa.schema([("a", pa.string())])),
        lambda path: [*lines_of(path)],
    ):
        with pytest.raises(IngestionError, match=r"a\.json\.gz: unpacks to more than"):
            reading(tmp_path / "a.json.gz")


def test_a_bomb_of_many_small_members_counts_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n") * 2000)
    with within(SMALL), pytest.raises(IngestionError, match=r"5000 bytes, which limits\.unpacked_bytes allows"):
        read_text(tmp_path / "a.csv.gz", "utf-8")


def test_what_is_packed_well_but_small_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n" * 300_000))
    assert len(read_text(tmp_path / "a.csv.gz", "utf-8")) == 1_200_000 - 1


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as handle:
        handle.truncate(1 << 37)  # holds nothing on disk
    with pytest.raises(IngestionError, match=r"a\.csv: has 137438953472 bytes, limits\.source_bytes allows"):
        read_text(tmp_path / "a.csv", "utf-8")


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_zip_bomb_is_refused_whatever_was_published(tmp_path: Path, method: int) -> None:
    archive = _zip(tmp_path / "a.zip", {"u.data": bytes(ZEROS)}, method)
    with pytest.raises(IngestionError, match=r"a\.zip: u\.data is larger than .*limits\.unpacked_ratio"):
        extract_member(archive, "u.data", tmp_path / "u.data", 8 << 30)
    assert not (tmp_path / "u.data").exists()


def test_a_zip_bomb_that_understates_itself_stops_at_what_it_says(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"u.data": bytes(ZEROS)})
    archive.write_bytes(archive.read_bytes().replace(struct.pack("<I", ZEROS), struct.pack("<I", 100)))
    with pytest.raises(IngestionError, match=r"u\.data"):
        extract_member(archive, "u.data", tmp_path / "u.data", 8 << 30)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("padding", [0, 1 << 20])
def test_a_zip_bomb_that_overstates_its_packed_size_is_refused(tmp_path: Path, padding: int) -> None:
    """Packed to 200 MiB, says the directory; bytes behind it make the archive larger, not the member."""
    content = _zip(tmp_path / "a.zip", {"u.data": bytes(ZEROS)}).read_bytes()
    at, end = content.rfind(b"PK\x01\x02"), bytearray(content[-22:])
    entry = bytearray(content[at:-22])
    struct.pack_into("<I", entry, 20, 200 << 20)
    struct.pack_into("<I", end, 16, at + padding)
    (tmp_path / "a.zip").write_bytes(content[:at] + bytes(padding) + entry + end)
    with pytest.raises(
        IngestionError, match=r"a\.zip: u\.data (is larger|unpacks to more) than .*limits\.unpacked_ratio"
    ):
        extract_member(tmp_path / "a.zip", "u.data", tmp_path / "u.data", 8 << 30)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_an_archive_of_very_many_members_is_refused_before_it_is_listed(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {f"{number}": b"" for number in range(6)} | {"u.data": b"x"})
    with within(SMALL), pytest.raises(IngestionError, match=r"a\.zip: has 7 members.*limits\.archive_members allows 5"):
        extract_member(archive, "u.data", tmp_path / "u.data", 100)
    lying = bytearray(archive.read_bytes())
    lying[-14:-10] = struct.pack("<HH", 1, 1)  # says one, and its directory is as long as it is
    lying[-10:-6] = struct.pack("<I", 1 << 30)
    archive.write_bytes(lying)
    with pytest.raises(IngestionError, match="directory of 1073741824 bytes"):
        extract_member(archive, "u.data", tmp_path / "u.data", 100)


def test_damaged_bzip2_in_an_archive_is_named(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"u.data": bytes(range(256)) * 20}, zipfile.ZIP_BZIP2)
    content = bytearray(archive.read_bytes())
    at = content.find(bz2.compress(b"")[:3])
    content[at + 8 : at + 20] = b"\xff" * 12
    archive.write_bytes(content)
    with pytest.raises(IngestionError, match="cannot be unpacked"):
        extract_member(archive, "u.data", tmp_path / "u.data", 8 << 20)


def test_a_download_without_end_is_stopped_and_removed(tmp_path: Path) -> None:
    with serving(Site({"/file": bytes(200_000)})) as site, within(SMALL):
        with pytest.raises(DownloadError, match=r"limits\.download_bytes \(1000\)"):
            download(f"{site.address}/file", tmp_path / "file", None)
        assert list(tmp_path.iterdir()) == []


def _parquet(path: Path, table: pa.Table, **options) -> Path:
    pq.write_table(table, path, compression="zstd", **options)
    return path


def _repeated(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def test_a_dictionary_bomb_is_refused_by_the_defaults(tmp_path: Path) -> None:
    """Four kilobytes on disk, 20 GB as rows."""
    path = _parquet(
        tmp_path / "a.parquet", pa.table({"user_id": _repeated("x" * 1_000_000, 20_000)}), store_schema=False
    )
    assert path.stat().st_size < 10_000
    for reading in (read_parquet_rows, read_parquet_blocks):
        started = time.process_time()
        with pytest.raises(IngestionError, match=r"a\.parquet: has at least 2\d{10} bytes of values.*table_bytes"):
            reading(path, "|")
        assert time.process_time() - started < 5


def test_a_bomb_within_lists_is_refused(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays(pa.array(np.arange(0, 61, 3, dtype=np.int32)), _repeated("x" * 1000, 60))
    path = _parquet(tmp_path / "a.parquet", pa.table({"genres": lists}), store_schema=False)
    with within(SMALL), pytest.raises(IngestionError, match="at least 60000 bytes of values"):
        read_parquet_rows(path, "|")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ({f"c{at}": [1] for at in range(9)}, {}, "has 9 columns, limits.columns allows 8"),
        ({"a": [{f"c{at}": 1 for at in range(9)}]}, {}, "has 9 columns, limits.columns allows 8"),
        ({"a": list(range(101))}, {}, "has 101 rows, limits.rows allows 100"),
        ({"a": list(range(8))}, {"row_group_size": 2}, "has 4 row groups, limits.row_groups allows 3"),
        ({"a": [[1] * 200]}, {}, "has 200 values in a row group, limits.rows allows 100"),
        ({"a": ["x" * 20_000]}, {}, "limits.table_bytes allows 10000"),
        ({"a": [b"x" * 20_000]}, {}, "limits.table_bytes allows 10000"),
    ],
)
def test_oversized_parquet_is_refused(tmp_path: Path, table: dict, options: dict, message: str) -> None:
    path = _parquet(tmp_path / "a.parquet", pa.table(table), **options)
    for reading in (read_parquet_rows, read_parquet_blocks):
        with within(SMALL), pytest.raises(IngestionError, match=f"a.parquet: .*{message}"):
            reading(path, "|")


def test_a_text_of_a_megabyte_and_more_is_refused(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", pa.table({"title": ["short", "x" * (1 << 21)]}))
    with pytest.raises(IngestionError, match=r"a text of 2097152 bytes in column title, limits\.text_bytes"):
        read_parquet_rows(path, "|")


def test_a_parquet_file_with_a_vast_footer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with path.open("wb") as handle:
        handle.truncate(1 << 28)
        handle.seek(0, 2)
        handle.write(struct.pack("<I", 1 << 27) + b"PAR1")
    with pytest.raises(IngestionError, match="has a footer of 134217728 bytes"):
        read_parquet_rows(path, "|")


def test_a_csv_of_very_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    """Comparing 200,000 names with each other would take minutes."""
    (tmp_path / "a.csv").write_text(",".join(f"c{at}" for at in range(200_000)) + "\n1\n")
    started = time.process_time()
    with pytest.raises(IngestionError, match=r"a\.csv: has 200000 columns, limits\.columns allows 2000"):
        read_csv(tmp_path / "a.csv")
    assert time.process_time() - started < 3


def test_a_header_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"' + "x" * 200_000)
    with pytest.raises(IngestionError, match=r"a\.csv, line 1: is no CSV header"):
        read_csv(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_pickle_under_another_name_is_not_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "run")))
    with pytest.raises(IngestionError, match=name):
        (read_csv if name.endswith("csv") else read_parquet_rows)(tmp_path / name, "|")
    assert not (tmp_path / "run").exists()


def test_an_array_of_pickles_is_not_run(tmp_path: Path) -> None:
    """No reader of ours takes ``.npy``; this is what the peers' comparison would meet, which loads as NumPy does."""
    sink = io.BytesIO()
    np.save(sink, np.array([Trap(tmp_path / "run")], dtype=object), allow_pickle=True)
    for suffix in (".npy", ".npz"):
        (tmp_path / f"a{suffix}").write_bytes(sink.getvalue())
        with pytest.raises(ValueError, match="allow_pickle=False"):
            np.load(tmp_path / f"a{suffix}")
    assert not (tmp_path / "run").exists()


TRAVERSING = (
    "../x",
    "amazon-../../../x",
    "amazon-x/../../y",
    "/etc",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "a\x00b",
    "a\n",
    ".x",
)


@pytest.mark.parametrize("name", TRAVERSING)
def test_a_dataset_cannot_be_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="unknown dataset"):
        find(name, tmp_path)
    with pytest.raises(ConfigError, match="dataset"):
        load_settings({}, dataset=name)
    with pytest.raises(ValueError, match="is no name of a dataset"):
        Storage(tmp_path, name)


MAPPINGS = {
    "a path": "interactions: {files: ../secret.csv}",
    "an absolute path": "interactions: {files: /etc/passwd}",
    "a folder": "interactions: {files: sub/x.csv}",
    "code": "interactions: !!python/object/apply:os.system ['touch run']",
    "a date that there is not": "licence: 2020-13-45\ninteractions: {files: a.csv}",
    "a number too long": f"licence: {'9' * 10_000}\ninteractions: {{files: a.csv}}",
    "depth": "interactions: " + "[" * 1000,
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "interactions: {files: *i}",
}


@pytest.mark.parametrize("content", MAPPINGS.values(), ids=MAPPINGS)
def test_a_mapping_reaches_nothing_outside_of_its_folder(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret.csv").write_text("user_id,item_id,timestamp\n1,2,1700000000\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / mapped.MAPPING).write_text(content)
    started = time.process_time()
    with pytest.raises((ConfigError, IngestionError), match=mapped.MAPPING):
        find("own", tmp_path).origin.locate("own", tmp_path, tmp_path / "cache")
    assert time.process_time() - started < 5
    assert not (tmp_path / "run").exists()


def test_a_csv_whose_first_line_is_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\n"4"\r\n')
    with pytest.raises(IngestionError, match=r"a\.csv, line 1: is empty; it has to name the columns"):
        read_csv(tmp_path / "a.csv")
