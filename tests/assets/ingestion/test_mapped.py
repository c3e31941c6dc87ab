import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from assets.config import ConfigError, Settings
from assets.ingestion.datasets.mapped import MOST_BYTES, mapped_names
from assets.ingestion.errors import IngestionError
from assets.ingestion.ingest import IngestionReport, ingest
from assets.ingestion.registry import find, options_of
from tests.assets.ingestion.layouts import NOW, write

MAPPING: dict[str, Any] = {
    "licence": "CC BY 4.0",
    "citation": "Shop (2024)",
    "interactions": {
        "files": "events-*.csv.gz",
        "delimiter": ";",
        "user": "customer",
        "item": "product",
        "timestamp": "when",
        "timestamp_format": "epoch_seconds",
        "event_type": "kind",
        "default_event_type": "view",
        "event_values": {"buy": 5, "view": 1},
    },
    "items": {
        "files": "products.csv",
        "encoding": "latin-1",
        "item": "id",
        "title": "name",
        "features": ["brand", "tags"],
        "list_separator": "/",
    },
    "users": {"files": ["people.parquet"], "user": "id", "leave_out": "email"},
}
EVENTS = "customer;product;when;kind\n"
FIRST = EVENTS + "1;a;1365029107;buy\n1;b;1365029108;\n2;a\n"
SECOND = EVENTS + "2;a;1365029109;click\n;a;1365029110;buy\n"


def _shop(root: Path, mapping: Any = MAPPING, name: str = "shop") -> Settings:
    folder = root / "local" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate((FIRST, SECOND)):
        (folder / f"events-{number}.csv.gz").write_bytes(gzip.compress(text.encode()))
    write(folder, {"products.csv": "id,name,brand,tags,stock\na,Café,X,p/q,3\n".encode("latin-1")})
    pq.write_table(pa.table({"id": [1, 2], "email": ["x", "y"], "city": ["A", None]}), folder / "people.parquet")
    text = mapping if isinstance(mapping, str) else yaml.safe_dump(mapping)
    (folder / "mapping.yaml").write_text(text)
    return Settings(dataset=name, home=root / "home", data_dir=root / "local")


def _ingest(settings: Settings) -> IngestionReport:
    return ingest(settings.model_copy(update={"datasets": _lenient(settings)}), settings.storage, NOW)


def _lenient(settings: Settings) -> dict[str, dict[str, Any]]:
    return {settings.dataset: {"max_quarantine_share": 0.6}}


def _with(table: str, **keys: Any) -> dict[str, Any]:
    return MAPPING | {table: {key: value for key, value in (MAPPING[table] | keys).items() if value is not None}}


def test_a_folder_with_a_mapping_is_a_dataset(tmp_path: Path) -> None:
    settings = _shop(tmp_path)
    report = _ingest(settings)
    assert pq.read_table(settings.storage.raw_table("interactions")).to_pylist() == [
        {"user_id": user, "item_id": item, "timestamp": when, "event_type": event, "value": value, "source_row": row}
        for user, item, when, event, value, row in (
            ("1", "a", datetime(2013, 4, 3, 22, 45, 7), "buy", 5.0, 2),
            ("1", "b", datetime(2013, 4, 3, 22, 45, 8), "view", 1.0, 3),
            ("2", "a", datetime(2013, 4, 3, 22, 45, 9), "click", None, 6),
        )
    ]
    (item,) = pq.read_table(settings.storage.raw_table("items")).to_pylist()
    assert item == {"item_id": "a", "title": "Café", "created_at": None, "brand": ["X"], "tags": ["p", "q"]}
    users = pq.read_table(settings.storage.raw_table("users")).to_pylist()
    assert users == [{"user_id": "1", "city": ["A"]}, {"user_id": "2", "city": []}]
    aside = pq.read_table(settings.storage.raw_table("quarantine")).to_pylist()
    assert [(row["file"], row["row"], row["reason"]) for row in aside] == [
        ("events-0.csv.gz", 4, "ragged_line"),
        ("events-1.csv.gz", 3, "empty_id"),
    ]
    assert (report.licence, report.citation, report.source) == ("CC BY 4.0", "Shop (2024)", "local copy")
    named = {"mapping.yaml", "events-0.csv.gz", "events-1.csv.gz", "products.csv", "people.parquet"}
    assert set(report.digests) == named
    assert report.rows_read["events-0.csv.gz"] == 3


def test_several_folders_live_side_by_side_and_files_may_have_a_mapping(tmp_path: Path) -> None:
    for name in ("shop", "other.shop", "files"):
        _shop(tmp_path, name=name)
    (tmp_path / "local" / "no-mapping").mkdir()
    assert mapped_names(tmp_path / "local") == ["files", "other.shop", "shop"]
    assert _ingest(_shop(tmp_path, name="files")).licence == "CC BY 4.0"
    assert find("other.shop", tmp_path / "local").name == "other.shop"
    with pytest.raises(ConfigError, match=r"known: .*, other\.shop, shop, and folders of THAW_DATA_DIR with a mapping"):
        find("shopp", tmp_path / "local")


def test_text_and_share_of_the_mapping_are_defaults_of_the_options(tmp_path: Path) -> None:
    mapping = MAPPING | {"max_quarantine_share": 0.5, "text": {"columns": ["title", "tags"]}}
    settings = _shop(tmp_path, mapping)
    adapter = find("shop", settings.data_dir)
    options = options_of(adapter, settings)
    assert options.max_quarantine_share == 0.5
    assert options.text is not None
    assert options.text.columns == ("title", "tags")
    changed = settings.model_copy(update={"datasets": {"shop": {"max_quarantine_share": 0.1}}})
    assert options_of(adapter, changed).max_quarantine_share == 0.1
    wrong = settings.model_copy(update={"datasets": {"shop": {"user_column": "customer"}}})
    with pytest.raises(ConfigError, match=r"datasets\.shop is not valid: user_column"):
        options_of(adapter, wrong)
    ingest(settings, settings.storage, NOW)
    (item,) = pq.read_table(settings.storage.raw_table("items")).to_pylist()
    assert len(item["content"]) > 0
    assert "tags" not in item


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("interactions: {files: x.csv", r"mapping\.yaml: is no YAML"),
        ("- 1", r"mapping\.yaml is not valid: mapping: .*docs/files\.md"),
        ("!!python/object/apply:os.getcwd []", r"mapping\.yaml: is no YAML"),
        ({"licence": "x"}, r"mapping\.yaml is not valid: interactions: Field required"),
        (_with("interactions", users="x"), r"interactions\.users: Extra inputs are not permitted"),
        (MAPPING | {"itemss": {}}, r"itemss: Extra inputs"),
        (_with("interactions", timestamp_format="unix"), r"interactions\.timestamp_format: Input should be"),
        (_with("interactions", delimiter="ab"), r"interactions\.delimiter: String should have at most 1"),
        (_with("items", leave_out="stock"), r"item_features and item_columns_left_out say the same"),
        (_with("interactions", files=[]), r"interactions\.files: Tuple should have at least 1"),
        ("x" * (MOST_BYTES + 1), r"larger than \d+ bytes"),
    ],
)
def test_a_mapping_that_is_not_valid_names_file_and_key(tmp_path: Path, mapping: Any, message: str) -> None:
    settings = _shop(tmp_path, mapping)
    with pytest.raises(ConfigError, match=message):
        find("shop", settings.data_dir)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (_with("interactions", files="../*.csv"), r"interactions\.files: '\.\./\*\.csv' must be a name or a pattern"),
        (_with("interactions", files="/etc/passwd"), r"must be a name or a pattern of files in .*shop itself"),
        (_with("interactions", files="sub/x.csv"), r"must be a name or a pattern"),
        (_with("interactions", files="..\\x.csv"), r"must be a name or a pattern"),
        (_with("interactions", files=".."), r"interactions\.files: no file in .* is called '\.\.'"),
        (_with("interactions", files=""), r"must be a name or a pattern"),
        (_with("users", files="link.csv"), r"users\.files: link\.csv is a link out of .*shop"),
        (_with("users", files="missing-*.csv"), r"users\.files: no file in .* is called 'missing-\*\.csv'"),
        (_with("users", files="mapping.yaml"), r"mapping\.yaml must end in \.csv, \.csv\.gz, \.parquet"),
        (_with("users", files=["people.parquet", "products.csv"]), r"keep CSV or Parquet of them"),
        (_with("users", user="nobody"), r"people\.parquet: column nobody is missing.*in the mapping file"),
        (_with("items", features="colour"), r"products\.csv: column colour is missing"),
        (_with("items", features="name"), r"column name has another use and cannot be a feature too"),
        (_with("interactions", value="stars"), r"events-0\.csv\.gz: column stars is missing"),
    ],
)
def test_nothing_outside_of_the_folder_and_nothing_missing(tmp_path: Path, mapping: Any, message: str) -> None:
    (tmp_path / "secret.csv").write_text("id\n1\n")
    settings = _shop(tmp_path, mapping)
    (tmp_path / "local" / "shop" / "link.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(IngestionError, match=message):
        _ingest(settings)
    assert not settings.storage.raw.exists()


@pytest.mark.parametrize("name", ["../shop", "local/../shop", ".", "..", "", ".shop", "a" * 101])
def test_a_name_that_is_no_folder_name_is_unknown(tmp_path: Path, name: str) -> None:
    _shop(tmp_path)
    with pytest.raises(ConfigError, match="unknown dataset"):
        find(name, tmp_path / "local" / "shop")


def test_a_registered_name_is_not_taken_over(tmp_path: Path) -> None:
    settings = _shop(tmp_path, name="ml-1m")
    with pytest.raises(ConfigError, match=r"ml-1m/mapping\.yaml: ml-1m is a dataset of its own; rename the folder"):
        find("ml-1m", settings.data_dir)


def test_a_cut_off_gzip_file_is_named(tmp_path: Path) -> None:
    settings = _shop(tmp_path)
    path = tmp_path / "local" / "shop" / "events-0.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(IngestionError, match=r"events-0\.csv\.gz: is no whole gzip file"):
        _ingest(settings)


def _one_file(root: Path, bad: int, **tables: Any) -> Settings:
    folder = root / "local" / "shop"
    rows = [f"u{row % 9},i{row % 7},{'when' if row < bad else 1583000000 + row},b\n" for row in range(240)]
    write(folder, {"events.csv": "user,item,when,brand\n" + "".join(rows)})
    interactions = {"files": "events.csv", "user": "user", "item": "item", "timestamp": "when"}
    mapping = {"interactions": interactions | {"timestamp_format": "epoch_seconds"}, **tables}
    (folder / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    return Settings(dataset="shop", home=root / "home", data_dir=root / "local")


ITEMS = {"files": "events.csv", "item": "item", "features": ["brand"]}
USERS = {"files": "events.csv", "user": "user", "features": []}


def test_a_file_of_several_tables_is_judged_and_reported_for_each(tmp_path: Path) -> None:
    for tables in ({}, {"items": ITEMS}, {"items": ITEMS, "users": USERS}):
        settings = _one_file(tmp_path, 20, **tables)
        with pytest.raises(IngestionError, match=r"events\.csv.*: 20 of 240 rows are not valid, more than the 5%"):
            ingest(settings, settings.storage, NOW)
    settings = _one_file(tmp_path, 10, items=ITEMS, users=USERS)
    report = ingest(settings, settings.storage, NOW)
    names = [f"events.csv ({table})" for table in ("interactions", "items", "users")]
    assert report.rows_read == dict.fromkeys(names, 240)
    assert report.quarantined == {names[0]: {"unparsable_timestamp": 10}, names[1]: {}, names[2]: {}}
    aside = pq.read_table(settings.storage.raw_table("quarantine"))
    assert set(aside["file"].to_pylist()) == {names[0]}
    assert set(report.digests) == {"mapping.yaml", "events.csv"}


def test_a_file_of_one_table_keeps_its_name(tmp_path: Path) -> None:
    settings = _one_file(tmp_path, 10)
    assert ingest(settings, settings.storage, NOW).rows_read == {"events.csv": 240}


@pytest.mark.parametrize("encoding", ["utf-16", "UTF_16_LE"])
def test_utf_16_is_sent_to_utf_8(tmp_path: Path, encoding: str) -> None:
    settings = _shop(tmp_path, _with("items", encoding=encoding))
    write(tmp_path / "local" / "shop", {"products.csv": "id,name\na,b\n".encode("utf-16")})
    with pytest.raises(IngestionError, match=rf"products\.csv: .*{encoding} is not read: save it as UTF-8 text"):
        ingest(settings, settings.storage, NOW)
