"""The front page: links to every page of a dataset, its leaderboard and its decay figure. A pure builder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dashboards.layout import render

PAGE = """{% extends "frame" %}
{% block title %}Thaw: {{ front.dataset }}{% endblock %}
{% block header %}<h1>Thaw: {{ front.dataset }}</h1>
<p class="quiet">What the last run measured and where to read more. Written {{ front.written_at }} (UTC).</p>
{% endblock %}
{% block main %}
{% if front.board %}<section aria-labelledby="leaderboard"><h2 id="leaderboard">Leaderboard</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard"><table>
<caption>{{ front.board.title }}; the best of a column in bold</caption>
<thead><tr>{% for name in front.board.columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in front.board.rows %}
<tr>{% for cell in row %}<td class="instant">{% if cell.best %}<strong>{{ cell.text }}</strong>{% else %}
{{ cell.text }}{% endif %}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% if front.board.notes %}<ul class="quiet">{% for note in front.board.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endif %}</section>{% endif %}
{% if front.figure %}<section aria-labelledby="decay"><h2 id="decay">Decay</h2>
<figure style="margin:0"><a href="{{ front.figure }}"><img src="{{ front.figure }}"
alt="Metric per window and model, with weights frozen at the cutoff"></a>
<figcaption class="quiet">Frozen weights, window after window.</figcaption></figure></section>{% endif %}
{% if front.drift %}<section aria-labelledby="drift"><h2 id="drift">Engagement drift</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Drift report of every window"><table>
<caption>Each window against train time</caption>
<thead><tr><th scope="col">report</th><th scope="col">from (UTC)</th><th scope="col">to before (UTC)</th>
<th scope="col" class="number">engagements drawn</th><th scope="col">columns drifted</th></tr></thead>
<tbody>{% for one in front.drift %}
<tr><th scope="row" class="instant"><a href="{{ one.href }}">window {{ one.window }}</a></th>
<td class="instant">{{ one.starts_at }}</td>
<td class="instant">{{ one.ends_at }}</td><td class="number">{{ "{:,}".format(one.rows) }}</td>
<td class="roomy">{{ one.drifted | join(", ") or "none" }} ({{ one.drifted | length }} of {{ one.columns }})</td>
</tr>{% endfor %}
</tbody></table></div></section>{% endif %}
{% if front.links %}<section aria-labelledby="more"><h2 id="more">More</h2>
<ul>{% for link in front.links %}<li><a href="{{ link.href }}">{{ link.title }}</a>: {{ link.about }}</li>{% endfor %}
</ul></section>{% endif %}
{% endblock %}
{% block footer %}<p>These pages need no network.</p>{% endblock %}
"""


@dataclass(frozen=True)
class Link:
    """A page, relative to the front page, and what it holds."""

    href: str
    title: str
    about: str


@dataclass(frozen=True)
class DriftEntry:
    """One window's drift report. ``drifted`` names the columns that did, of ``columns`` compared."""

    href: str
    window: int
    starts_at: str
    ends_at: str
    rows: int
    drifted: Sequence[str]
    columns: int


class Cell(NamedTuple):
    """A cell's text, and whether it is the best of its column."""

    text: str
    best: bool


@dataclass(frozen=True)
class BoardTable:
    """A table with a title and notes."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]


@dataclass(frozen=True)
class FrontPage:
    """Content of the front page; what a run did not make is left out. ``figure`` is relative to the page."""

    dataset: str
    written_at: str
    board: BoardTable | None = None
    figure: str | None = None
    drift: Sequence[DriftEntry] = field(default_factory=tuple)
    links: Sequence[Link] = field(default_factory=tuple)


def read_board(markdown: str) -> BoardTable | None:
    """The first table of a markdown text, with the heading before it and the list after it; None without a table."""
    lines = [line.strip() for line in markdown.splitlines()]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    if len(table) < 2:
        return None
    title = next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
    notes = [line[2:] for line in lines if line.startswith("- ")]
    header, _, *body = table
    return BoardTable(title=title, columns=header, rows=[[_cell(text) for text in row] for row in body], notes=notes)


def _cell(text: str) -> Cell:
    best = len(text) > 4 and text.startswith("**") and text.endswith("**")
    return Cell(text[2:-2] if best else text, best)


def build_front_page(front: FrontPage) -> str:
    """The page as HTML."""
    return render(PAGE, front=front)
