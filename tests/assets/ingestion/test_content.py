"""Items' dense content: read from a column, made of text, landed, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.config import ConfigError, FreshnessConfig, Settings
from assets.ingestion.content import CONTENT, TextOptions, content_of, of_one_length, with_text
from assets.ingestion.datasets.files import DATASET
from assets.ingestion.digest import content_digest
from assets.ingestion.encoders import HashingEncoder
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import ingest
from assets.ingestion.landing.claims import claim
from assets.ingestion.landing.contract import read_items
from assets.ingestion.landing.intake import ingest_claimed
from assets.ingestion.landing.places import Kind, drop_zone
from assets.ingestion.own_tables import FilesOptions
from assets.ingestion.registry import find, options_of, text_options
from assets.ingestion.tables import RawTables, items_table
from tests.assets.ingestion.layouts import NOW, ml_100k, settings, write

INTERACTIONS = "user_id,item_id,timestamp\nu,a,2024-01-02\nv,b,2024-01-03\n"
SECOND = 1_000_000
NOW_MICROS = 1_735_689_600 * SECOND


def items_file(folder: Path, content: Any, **columns: Any) -> Path:
    write(folder, {"interactions.csv": INTERACTIONS})
    pq.write_table(pa.table({"item_id": list("abcde"), "content": content, **columns}), folder / "items.parquet")
    return folder


def read(folder: Path, **options: Any) -> RawTables:
    return DATASET.read(folder, FilesOptions(max_quarantine_share=1.0, **options), NOW)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2)]
)
def test_a_column_of_lists_is_content(tmp_path: Path, kind: pa.DataType) -> None:
    vectors = pa.array([[0.5, 1], [2, -3], None, [0, 0], [4, 5]], pa.list_(pa.float64())).cast(kind)
    raw = read(items_file(tmp_path, vectors, genre=["x"] * 5))
    assert raw.items.schema.field("content").type == CONTENT
    assert raw.items.column_names == ["item_id", "title", "created_at", "content", "genre"]
    assert raw.items["content"].to_pylist() == [[0.5, 1], [2, -3], None, [0, 0], [4, 5]]
    assert raw.quarantine.num_rows == 0


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.list_(pa.uint8()), pa.large_list(pa.int8())])
def test_whole_numbers_are_content_and_features(tmp_path: Path, kind: pa.DataType) -> None:
    lists = pa.array([[1, 2], [3, 4], None, [5, 6], []], kind)
    raw = read(items_file(tmp_path, lists, sizes=lists))
    assert raw.items["content"].to_pylist() == [[1, 2], [3, 4], None, [5, 6], None]
    assert raw.items["sizes"].to_pylist() == [["1", "2"], ["3", "4"], [], ["5", "6"], []]
    landed = read_items(tmp_path / "items.parquet", NOW_MICROS, 0.0).table
    assert landed["content"].to_pylist() == raw.items["content"].to_pylist()


def test_wrong_content_is_set_aside_by_row(tmp_path: Path) -> None:
    vectors = pa.array([[1.0, 2], [1.0], [np.inf, 0], [], [3.0, 4]], pa.list_(pa.float64()))
    raw = read(items_file(tmp_path, vectors))
    aside = raw.quarantine.select(["file", "row", "reason"]).to_pylist()
    assert aside == [{"file": "items.parquet", "row": row, "reason": "wrong_content"} for row in (2, 3)]
    assert raw.items["content"].to_pylist() == [[1, 2], None, [3, 4]]  # an empty list is none


def test_a_null_among_the_numbers_is_wrong() -> None:
    content, wrong = content_of(pa.array([[1.0, None], [1.0, 2.0]]), "items.parquet: column content")
    assert wrong.tolist() == [True, False]
    assert content.to_pylist() == [None, [1.0, 2.0]]


def test_another_name_may_be_given_and_a_column_of_only_nulls_is_none(tmp_path: Path) -> None:
    raw = read(items_file(tmp_path, pa.nulls(5), vector=[[1.0]] * 5), content_column="vector", title_column="content")
    assert raw.items["content"].to_pylist() == [[1.0]] * 5
    assert read(items_file(tmp_path, pa.nulls(5))).items.column_names == ["item_id", "title", "created_at"]


@pytest.mark.parametrize("content", [["some text"] * 5, [[["a"]]] * 5])
def test_what_is_no_list_of_numbers_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(IngestionError, match=r"items.parquet: column content is .*(content_column|list of)"):
        read(items_file(tmp_path, content))


def test_lists_of_numbers_under_other_names_stay_features(tmp_path: Path) -> None:
    raw = read(items_file(tmp_path, pa.nulls(5), sizes=[[1.5, 2.0], [], [3.0], [4.0], [5.0]]))
    assert raw.items["sizes"].to_pylist()[:2] == [["1.5", "2"], []]


def items() -> pa.Table:
    return items_table(
        pa.array(["a", "b", "c", "d"]),
        pa.array(["The Matrix", None, "The Matrix", " ?"]),
        features={
            "genre": pa.array([["sci fi", "war"], [], ["sci fi", "war"], []]),
            "plot": pa.array([["a man"], ["a ship"], ["a man"], []]),
        },
    )


def test_text_becomes_content_and_leaves_the_features() -> None:
    text = TextOptions(columns=("title", "genre", "plot"), keep=("genre",), encoder=HashingEncoder(dim=16))
    made = with_text(items(), text)
    assert made.column_names == ["item_id", "title", "created_at", "content", "genre"]
    assert made["title"].to_pylist()[0] == "The Matrix"
    first, second, third, blank = made["content"].to_pylist()
    alone = text.encoder.encode(pa.array(["The Matrix sci fi war a man", "a ship"]))
    assert np.array_equal([first, second, third], alone[[0, 1, 0]].astype(np.float64))
    assert blank is None


def test_without_any_text_there_is_no_column() -> None:
    assert "content" not in with_text(items().slice(3), TextOptions()).column_names


def test_the_digest_of_content_is_sensitive_to_every_bit() -> None:
    made = with_text(items(), TextOptions())
    other = with_text(items(), TextOptions(encoder=HashingEncoder(seed=1)))
    digests = {content_digest({"items": table}) for table in (made, other, items(), with_text(items(), TextOptions()))}
    assert len(digests) == 3


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(IngestionError, match="no column 'story'; they have title, genre, plot"):
        with_text(items(), TextOptions(columns=("title", "story")))
    landed = with_text(items(), TextOptions(columns=("title", "story")), optional=True)
    assert landed["content"].null_count == 2


def test_content_comes_from_one_place() -> None:
    with pytest.raises(IngestionError, match="take one of them"):
        with_text(with_text(items(), TextOptions()), TextOptions())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ({"columns": []}, "text.columns"),
        ({"columns": ["title", "title"]}, "twice"),
        ({"keep": ["title"]}, "title always stays"),
        ({"keep": ["genre"]}, "'?genre"),
        ({"encoder": {"kind": "hashing", "model": "x"}}, "model"),
        ({"encoder": {"kind": "magic"}}, "magic"),
        ({"encoder": {"kind": "sentence-transformers"}}, "model"),
        ({"words": 3}, "words"),
    ],
)
def test_options_are_strict(text: dict[str, Any], problem: str) -> None:
    chosen = Settings(dataset="ml-100k", datasets={"ml-100k": {"text": text}})
    with pytest.raises(ConfigError, match=problem):
        options_of(find("ml-100k"), chosen)


def test_every_adapter_has_the_option_and_ingestion_writes_the_same_bytes(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k")
    chosen = settings(tmp_path, "ml-100k", text={"columns": ["title", "genre"], "keep": ["genre"]})
    first = ingest(chosen, chosen.storage, NOW)
    written = chosen.storage.raw_table("items").read_bytes()
    raw = pq.read_table(chosen.storage.raw_table("items"))
    assert "genre" in raw.column_names
    assert raw["content"].null_count == 0
    assert {len(one) for one in raw["content"].to_pylist()} == {128}
    assert ingest(chosen, chosen.storage, NOW).data_version == first.data_version
    assert chosen.storage.raw_table("items").read_bytes() == written
    other = settings(tmp_path, "ml-100k", text={"encoder": {"kind": "hashing", "dim": 8}})
    assert ingest(other, other.storage, NOW).data_version != first.data_version
    plain = settings(tmp_path, "ml-100k")
    ingest(plain, plain.storage, NOW)
    assert "content" not in pq.read_schema(plain.storage.raw_table("items")).names


def test_landed_items_are_encoded_alike_and_ingestion_takes_them_up(tmp_path: Path) -> None:
    ml_100k(tmp_path / "local" / "ml-100k")
    chosen = settings(tmp_path, "ml-100k", text={"columns": ["title"]})
    storage, text = chosen.storage, text_options(chosen)
    assert text is not None
    now = 1_714_000_000 * SECOND
    zone = drop_zone(storage, Kind.ITEMS)
    zone.mkdir(parents=True)
    (zone / "new.csv").write_text("item_id,title\nnew,Toy Story (1995)\nbare,\n")
    claim(storage, FreshnessConfig(), now, 60.0)
    intake = ingest_claimed(storage, FreshnessConfig(), None, now, text)
    assert not intake.refused
    ingest(chosen, storage, NOW)
    by_id = {row["item_id"]: row["content"] for row in pq.read_table(storage.raw_table("items")).to_pylist()}
    title = text.encoder.encode(pa.array(["Toy Story (1995)"]))[0]
    assert np.array_equal(by_id["new"], title)
    assert by_id["bare"] is None
    assert len([one for one in by_id.values() if one is None]) == 1


def test_landed_content_of_another_length_is_none(tmp_path: Path) -> None:
    source = with_text(items(), TextOptions(encoder=HashingEncoder(dim=8)))
    landed = with_text(items().slice(0, 1), TextOptions(encoder=HashingEncoder(dim=16)))
    both = of_one_length(pa.concat_tables([source, landed]), source)
    assert [one is None for one in both["content"].to_pylist()] == [False, True, False, True, True]
    assert both["content"][0] == source["content"][0]
    alone = of_one_length(pa.concat_tables([items(), landed], promote_options="default"), items())
    assert [one is None for one in alone["content"].to_pylist()] == [True] * 4 + [False]


def test_text_of_a_dataset_nobody_registered_is_none() -> None:
    assert text_options(Settings(dataset="toy")) is None
    assert text_options(Settings(dataset="ml-100k")) is None
