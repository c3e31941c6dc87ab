"""Makes the seed corpus: small valid files in every reader's layout, and what once broke one.

    python -m tests.fuzz.seeds

Made files are ``made-*.case``; a crash that was found and fixed stays as ``crash-*.case``, which this leaves alone.
"""

import gzip
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from tests.assets.ingestion import worlds
from tests.fuzz.cases import CORPUS, Case, framed
from tests.fuzz.readers import READERS

SMALL: Final = worlds.world(engagements=24, users=5, items=9)

MAPPING: Final = b"""interactions:
  files: log-*.csv
  delimiter: ";"
  user: who
  item: what
  timestamp: when
  timestamp_format: epoch_seconds
  event_type: kind
  default_event_type: seen
items:
  files: things.csv
  item: id
max_quarantine_share: 0.9
"""
LOG: Final = b"who;what;when;kind\nu1;i1;1365029107;view\nu2;i2;1365029207;\n"
MORE: Final = b"who;what;when;kind\nu1;i2;1365029307;buy\nu3;i1;1365029407;view\n"
THINGS: Final = b"id,genre\ni1,Drama\ni2,Comedy|Romance\n"

CONFIG: Final = b"""dataset: ml-100k
models: [sasrec, decayed_popularity]
split: {kind: median_time, windows: 5}
training: {seeds: 2}
datasets:
  ml-100k: {max_quarantine_share: 0.1}
limits: {rows: 1000000}
service: {port: 8000}
"""


def parquet(table: pa.Table) -> bytes:
    """A table as a file, uncompressed: a fuzzer of bytes can change it."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none", row_group_size=4)
    return sink.getvalue()


def _engagements() -> pa.Table:
    rows = range(9)
    return pa.table(
        {
            "user_id": [f"u{row % 3}" for row in rows],
            "item_id": [row % 4 for row in rows],
            "timestamp": pa.array([1_365_029_107_000_000 + row * 10**9 for row in rows], pa.timestamp("us")),
            "value": [float(row) for row in rows],
            "event_type": pa.array(["click" if row % 2 else "buy" for row in rows]).dictionary_encode(),
        }
    )


def _items() -> pa.Table:
    rows = range(5)
    return pa.table(
        {
            "item_id": list(rows),
            "title": [f"Misérables, Les {row}" for row in rows],
            "created_at": pa.array(["2013-04-03"] * 5),
            "genre": [["Drama", "Crime"][: row % 3] for row in rows],
            "content": pa.array([[row, 1.5] if row else None for row in rows], pa.list_(pa.float32())),
        }
    )


def _csv(table: pa.Table) -> bytes:
    frame = table.to_pandas()
    if "genre" in frame:
        frame = frame.drop(columns="content").assign(genre=["|".join(values) for values in frame["genre"]])
    text: str = frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return text.encode()


def _layout(dataset: str) -> Case:
    """The dataset's files as the tests write them, unpacked."""
    with tempfile.TemporaryDirectory() as folder:
        path = worlds.LAYOUTS[dataset](Path(folder), SMALL)
        files = {one.name: one.read_bytes() for one in sorted(path.iterdir())}
    return {name: gzip.decompress(data) if name.endswith(".gz") else data for name, data in files.items()}


def _archive(method: int) -> Case:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in {"README": b"x", "ml/u.data": b"1\t2\t3\t4\n" * 9, "u.data": b"1\t2\t3\t4\n" * 9}.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, method)
    return {"a.zip": sink.getvalue()}


def _own() -> Mapping[str, Case]:
    csv = {"interactions.csv": _csv(_engagements()), "items.csv": _csv(_items())}
    arrow = {"interactions.parquet": parquet(_engagements()), "items.parquet": parquet(_items())}
    text = _csv(_engagements())
    parts = {"interactions-1.csv": text, "interactions-2.csv": text, "users.csv": b"user_id,city\nu0,Pune\nu1,\n"}
    return {"csv": csv, "parquet": arrow, "parts": parts, "packed": {"interactions.csv.gz": text}}


def _landed(table: Callable[[], pa.Table]) -> Mapping[str, Case]:
    both = {"csv": _csv(table()), "parquet": parquet(table())}
    return {ending: {f"a.{ending}": content} for ending, content in both.items()}


def made() -> Iterator[tuple[str, str, Case]]:
    """Reader, name of the seed, and the case."""
    for reader in READERS:
        if reader in worlds.LAYOUTS:
            yield reader, "layout", _layout(reader)
    own = _own()
    yield from (("files", name, case) for name, case in own.items())
    # Items that have content of their own are given none of their text.
    arrow = own["parquet"] | {"items.parquet": parquet(_items().drop_columns(["content"]))}
    yield from (("text", name, case) for name, case in (("csv", own["csv"]), ("parquet", arrow)))
    yield "mapping", "all", {"mapping.yaml": MAPPING, "log-1.csv": LOG, "log-2.csv": MORE, "things.csv": THINGS}
    yield "config", "all", {"thaw.yaml": CONFIG}
    yield "archive", "deflated", _archive(zipfile.ZIP_DEFLATED)
    yield "archive", "stored", _archive(zipfile.ZIP_STORED)
    yield "archive", "bzip2", _archive(zipfile.ZIP_BZIP2)
    for way in ("land", "drop"):
        yield from ((f"{way}-engagements", name, case) for name, case in _landed(_engagements).items())
        yield from ((f"{way}-items", name, case) for name, case in _landed(_items).items())


def main() -> None:
    """Write the corpus again."""
    for path in CORPUS.glob("*/made-*.case"):
        path.unlink()
    for reader, name, case in made():
        folder = CORPUS / reader
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"made-{name}.case").write_bytes(framed(case))


if __name__ == "__main__":
    main()
