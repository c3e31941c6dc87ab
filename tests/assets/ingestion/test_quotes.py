"""A stray quote takes no row away unseen; titles of several lines stay."""

from pathlib import Path

import pytest

from assets.ingestion.blocks import read_csv_blocks
from assets.ingestion.datasets.files import DATASET
from assets.ingestion.datasets.mapped import dataset
from assets.ingestion.datasets.movielens import DATASETS
from assets.ingestion.errors import IngestionError
from assets.ingestion.landing.contract import read_engagements
from assets.ingestion.landing.errors import LandingError
from assets.ingestion.own_tables import FilesOptions
from assets.ingestion.rows import SourceRows, read_csv
from assets.ingestion.tables import RawTables
from assets.ingestion.validate import refuse_bad_files
from tests.assets.ingestion.landing.drops import NOW as LANDED_AT
from tests.assets.ingestion.layouts import NOW, write

HEADER = "user_id,item_id,timestamp,event_type"
ROWS = 1000


def _log(changed: dict[int, str], header: str = HEADER) -> str:
    """A thousand rows of interactions; ``changed`` replaces some: the row of line N is N."""
    rows = [f"u{row % 9},i{row % 7},2024-01-{row % 28 + 1:02d},view" for row in range(2, ROWS + 2)]
    for row, text in changed.items():
        rows[row - 2] = text
    return "\n".join([header, *rows]) + "\n"


def _read(folder: Path, text: str, **options: object) -> RawTables:
    return DATASET.read(write(folder, {"interactions.csv": text}), FilesOptions(**options), NOW)


def _aside(rows: SourceRows) -> list[tuple[int, str, str]]:
    return [(row["row"], row["reason"], row["content"]) for row in rows.set_aside.to_pylist()]


OPENED = 'u,i,2024-01-05,"vi'


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("changed", "first", "last"),
    [
        ({500: OPENED}, 500, ROWS + 1),
        ({ROWS + 1: OPENED}, ROWS + 1, ROWS + 1),
        ({300: OPENED, 700: OPENED}, 300, 700),
        ({300: OPENED, 301: OPENED}, 300, 301),
        ({300: OPENED, 700: 'u,i,2024-01-05,view"'}, 300, 700),
        ({300: OPENED, 700: 'u,i,2024-01-05,"buy, twice"'}, 300, 700),
        ({300: 'u,i,2024-01-05,"', 700: 'u,i,2024-01-05,"'}, 300, 700),
        ({300: 'u,"i,2024-01-05,view', 700: 'u,"i,2024-01-05,view'}, 300, 700),
        ({300: 'u,",2024-01-05,view', 301: 'u,",2024-01-05,view'}, 300, 301),
        ({300: '"u,i,2024-01-05,view', 700: 'u,i,2024-01-05,"'}, 300, 700),
    ],
)
def test_every_line_that_a_quote_swallowed_is_set_aside_with_its_number(
    tmp_path: Path, changed: dict[int, str], first: int, last: int, ending: str
) -> None:
    text = _log(changed).replace("\n", ending)
    raw = _read(tmp_path, text)
    assert raw.quarantine["row"].to_pylist() == list(range(first, last + 1))
    assert set(raw.quarantine["reason"].to_pylist()) == {"stray_quote"}
    assert raw.quarantine["content"][0].as_py() == text.splitlines()[first - 1]
    assert raw.rows_read["interactions.csv"] == ROWS
    assert raw.interactions["source_row"].to_pylist() == [*range(2, first), *range(last + 1, ROWS + 2)]


def test_swallowed_lines_count_towards_the_share(tmp_path: Path) -> None:
    with pytest.raises(IngestionError, match=r"interactions\.csv: 502 of 1000 .* 502 x stray_quote.*row 500: 'u,i"):
        refuse_bad_files(_read(tmp_path, _log({500: OPENED})), 0.05)
    refuse_bad_files(_read(tmp_path, _log({300: OPENED, 310: OPENED})), 0.05)


def test_a_landed_file_is_refused_rather_than_applied_in_part(tmp_path: Path) -> None:
    path = write(tmp_path, {"a.csv": _log({300: OPENED})}) / "a.csv"
    with pytest.raises(LandingError, match="702 of 1000 rows are not valid"):
        read_engagements(path, LANDED_AT, 0.05)
    write(tmp_path, {"a.csv": _log({300: OPENED, 309: OPENED})})
    landed = read_engagements(path, LANDED_AT, 0.05)
    assert (landed.table.num_rows, landed.rejected["row"].to_pylist()) == (ROWS - 10, list(range(300, 310)))


def test_a_mapped_folder_is_protected_too(tmp_path: Path) -> None:
    said = "interactions: {files: e.csv}\n"
    folder = write(tmp_path / "shop", {"e.csv": _log({300: OPENED, 305: OPENED}), "mapping.yaml": said})
    adapter = dataset("shop", tmp_path)
    assert adapter.read(folder, adapter.options(), NOW).quarantine["row"].to_pylist() == list(range(300, 306))


def test_ratings_of_movielens_are_protected_too(tmp_path: Path) -> None:
    ratings = [f"{row % 9},{row % 7},4,{1_400_000_000 + row}" for row in range(100)]
    ratings[40], ratings[49] = '1,2,4,"14', '1,2,4,"15'
    movies = 'movieId,title,genres\n1,"Stray\n2,Two,Drama\n3,Three,Drama"\n4,"Four, the",Drama\n'
    files = {"ratings.csv": "\n".join(["userId,movieId,rating,timestamp", *ratings]), "movies.csv": movies}
    adapter = next(one for one in DATASETS if one.name == "ml-20m")
    raw = adapter.read(write(tmp_path, files), adapter.options(), NOW)
    assert raw.quarantine["row"].to_pylist() == [*range(42, 52), 2, 3, 4]
    assert raw.items["title"].to_pylist() == ["Four, the"]


LEGAL = [
    '"Two\nlines"',
    '"One\r\nTwo\n\nFour"',
    '"He said ""no"",\nthen left"',
    '"A list:\nsoft, warm, cozy"',
    '"\n"',
    '"\nIndented\n"',
    '5" inch',
    '"5" inch',
    '""',
]


@pytest.mark.parametrize("title", LEGAL)
def test_legal_texts_stay(tmp_path: Path, title: str) -> None:
    path = tmp_path / "items.csv"
    path.write_text(f"item_id,brand,title\na,b,{title}\nc,d,e\n", newline="")
    for rows in (read_csv(path, one_line=("item_id",)), *read_csv_blocks(path, ",", "utf-8", ("item_id",))):
        assert rows.set_aside.num_rows == 0
        assert rows.column("item_id").to_pylist() == ["a", "c"]
        assert rows.numbers.to_pylist() == [2, 3]


@pytest.mark.parametrize(
    ("delimiter", "title"),
    [(",", '"Puzzle\n1,000 pieces"'), (",", '"Milk\n1,5 l"'), (";", '"Tom\nTom&amp;Jerry"'), ("\t", '"Tom\n\tin"')],
)
def test_two_lines_of_two_columns_are_no_evidence(tmp_path: Path, delimiter: str, title: str) -> None:
    path = tmp_path / "items.csv"
    path.write_text(f"item_id{delimiter}title\na{delimiter}{title}\nc{delimiter}d\n", newline="")
    assert read_csv(path, delimiter, one_line=("item_id",)).column("item_id").to_pylist() == ["a", "c"]


def test_an_address_of_two_lines_is_read(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,kind,address\na,Cafe,"Main St 5\nParis,75001,FR"\n')
    assert read_csv(path).column("address").to_pylist() == ["Main St 5\nParis,75001,FR"]


def test_a_text_between_other_columns_may_hold_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item_id,text,brand\na,"first\n1,2,3\nlast",b\n')
    assert read_csv(path).column("text").to_pylist() == ["first\n1,2,3\nlast"]


def test_numbers_go_on_behind_swallowed_lines_and_legal_ones(tmp_path: Path) -> None:
    """A record of several lines is one; a swallowed line is one as well; a ragged line keeps its number."""
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,"two\nlines"\n2,"x\n3,y\n4,"z\n5\n6,"multi, and\nragged, too",7\n8,9\n')
    rows = read_csv(path)
    assert rows.numbers.to_pylist() == [2, 8]
    assert rows.table.to_pydict() == {"a": ["1", "8"], "b": ["two\nlines", "9"]}
    assert _aside(rows) == [
        (3, "stray_quote", '2,"x'),
        (4, "stray_quote", "3,y"),
        (5, "stray_quote", '4,"z'),
        (6, "ragged_line", "5"),
        (7, "ragged_line", '6,"multi, and\nragged, too",7'),
    ]


def test_escaped_quotes_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('a;b\n"1";"say \\"two\nlines\\""\n"2";"open\n"3";"y"\n', newline="")
    rows = read_csv(path, ";", escape="\\")
    assert rows.table.to_pydict() == {"a": ["1"], "b": ['say "two\nlines"']}
    assert [row for row, *_ in _aside(rows)] == [3, 4]


def test_a_header_that_swallowed_the_rows_is_refused(tmp_path: Path) -> None:
    """Else a landed file would be an empty batch, which is fine."""
    path = write(tmp_path, {"a.csv": _log({}, 'user_id,item_id,timestamp,"event_type')}) / "a.csv"
    with pytest.raises(LandingError, match=r"a\.csv, line 1: the column name 'event_type.* holds a line break"):
        read_engagements(path, LANDED_AT, 0.05)


def test_ordinary_quotes_are_not_looked_at_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search costs as much as the parsing, so only files with line breaks within fields pay for it."""
    monkeypatch.setattr("assets.ingestion.quotes._line_starts", lambda _: pytest.fail("searched"))
    path = tmp_path / "x.csv"
    for ending in ("\n", "\r\n", "\r"):
        path.write_text('"a","b"\n"1","x, y"\n2,5" inch\n\n"3"\n'.replace("\n", ending), newline="")
        assert read_csv(path).column("a").to_pylist()[:2] == ["1", "2"]
