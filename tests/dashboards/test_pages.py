"""The front page: what there is is shown, what is not is left out; the leaderboard's markdown read back."""

import re

from dashboards.pages import BoardTable, Cell, DriftEntry, FrontPage, Link, build_front_page, read_board

MARKDOWN = """### toy: full ranking

| model      | HR@10     |   against |
|------------|-----------|-----------|
| popularity | **0.200** |           |
| sasrec     | 0.100     | loses     |

- Ties are averaged.
"""


def test_read_board() -> None:
    assert read_board(MARKDOWN) == BoardTable(
        title="toy: full ranking",
        columns=["model", "HR@10", "against"],
        rows=[
            [Cell("popularity", False), Cell("0.200", True), Cell("", False)],
            [Cell("sasrec", False), Cell("0.100", False), Cell("loses", False)],
        ],
        notes=["Ties are averaged."],
    )


def test_no_table_is_no_board() -> None:
    assert read_board("# nothing yet\n") is None


def test_everything_there_is_is_linked() -> None:
    drift = DriftEntry("drift/window-0.html", 0, "2001-01-01 00:00", "2001-02-01 00:00", 1234, ["value", "category"], 9)
    front = FrontPage(
        dataset="toy",
        written_at="2024-05-01 10:00",
        board=read_board(MARKDOWN),
        figure="../evaluation/decay.png",
        drift=[drift],
        links=[Link("../quality/index.html", "Data quality", "every expectation")],
    )
    page = build_front_page(front)
    links = {"../evaluation/decay.png", "drift/window-0.html", "../quality/index.html", "data:,"}
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == links
    for words in ("<strong>0.200</strong>", "1,234", "value, category (2 of 9)", "Ties are averaged."):
        assert words in page


def test_what_there_is_not_is_left_out() -> None:
    page = build_front_page(FrontPage(dataset="toy", written_at="now"))
    assert "<section" not in page


def test_names_are_escaped() -> None:
    page = build_front_page(FrontPage(dataset="<b>", written_at="now", board=read_board("# <i>\n|<u>|\n|-|\n|<s>|\n")))
    assert not re.search(r"<[biu]>|<s>", page)
