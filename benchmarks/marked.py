"""The part of a page that a benchmark writes, between two marks; the rest is written by hand."""

from pathlib import Path

from assets.storage import write_text


def replace_marked(page: Path, name: str, text: str) -> None:
    """Put ``text`` between the marks ``<!-- begin name -->`` and ``<!-- end name -->`` of a page.

    Raises:
        ValueError: when the page lacks the marks, or has them twice.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    whole = page.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1:
        raise ValueError(f"{page.name}: needs the marks {begin} and {end} once each")
    before, after = whole.split(begin)[0], whole.split(end)[1]
    write_text(page, f"{before}{begin}\n\n{text}\n\n{end}{after}")
