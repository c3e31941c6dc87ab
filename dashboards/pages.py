"""Pages of the static site as HTML. Pure: a :class:`Page` in, text out.

Every page is one file beside ``plotly.min.js``, the only thing it loads, and only where it has a figure.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from markupsafe import Markup

from dashboards.layout import render
from dashboards.site_figures import panel_json
from dashboards.site_parts import PALETTE, Page, State, numbers_table

BUNDLE: Final = "plotly.min.js"
"""Plotly's own bundle, one for all pages."""

SIGNS: Final = {
    State.GOOD: "✓ good",
    State.WARN: "! look",
    State.BAD: "✗ act",
    State.UNKNOWN: "? not measured",
}
CLASSES: Final = {State.GOOD: "passed", State.WARN: "warned", State.BAD: "failed", State.UNKNOWN: "unknown"}

PAGE: Final = """{% extends "frame" %}
{% macro cells(table) %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.caption }}"><table>
<caption>{{ table.caption }}</caption>
<thead><tr>{% for name in table.columns %}<th scope="col"{% if name in table.numbers %} class="number"{% endif %}>\
{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}
<tr>{% for cell in row %}{% set tag = "th" if loop.first else "td" %}<{{ tag }}{% if loop.first %} scope="row"\
{% endif %}{% if table.columns[loop.index0] in table.numbers %} class="number"{% elif loop.first %} class="instant"\
{% elif cell.state %} class="status {{ classes[cell.state] }}"\
{% elif cell.text | length > 60 %} class="roomy"{% endif %}>\
{% if cell.href %}<a href="{{ cell.href }}">{{ cell.text }}</a>{% elif cell.strong %}<strong>{{ cell.text }}</strong>\
{% else %}{{ cell.text }}{% endif %}</{{ tag }}>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% endmacro %}
{% block title %}{{ page.name }}: {{ dataset }}{% endblock %}
{% block nav %}<nav aria-label="Pages"><ul>{% for file, name in pages %}
<li><a href="{{ file }}"{% if file == page.file %} aria-current="page"{% endif %}>{{ name }}</a></li>{% endfor %}
</ul></nav>{% endblock %}
{% block header %}<h1>{% if page.topics %}Thaw: {{ dataset }}{% else %}{{ page.name }} of {{ dataset }}{% endif %}</h1>
<p>{{ page.lead }}</p>
<p class="quiet">Written {{ written_at }} (UTC).</p>
{% endblock %}
{% block main %}
{% if page.topics %}<section aria-labelledby="glance"><h2 id="glance">At a glance</h2>
<ul class="topics">{% for topic in page.topics %}
<li class="{{ classes[topic.state] }}" data-topic="{{ topic.name }}" data-state="{{ topic.state }}">
<h3><a href="{{ topic.href }}">{{ topic.name }}</a></h3>
<span class="status">{{ signs[topic.state] }}</span><p>{{ topic.reason }}</p></li>{% endfor %}
</ul></section>{% endif %}
{% for section in page.sections %}{% set place = loop.index %}
<section aria-labelledby="s{{ place }}"><h2 id="s{{ place }}">{{ section.title }}</h2>
{% for words in section.text %}<p>{{ words }}</p>
{% endfor %}
{% for figure in section.figures %}
<figure id="{{ figure.name }}"><figcaption>{{ figure.summary }}</figcaption>
<ul class="legend" aria-label="Lines; press to hide or show">{% for line, style in figure.lines.items() %}
<li><button type="button" aria-pressed="true" data-line="{{ line }}">\
<span class="key {{ {"dash": "dashed", "dot": "dotted"}.get(style.dash, "") }}" \
style="color: var(--c{{ style.slot % palette }})"></span>{{ line }}</button></li>{% endfor %}
</ul>
<div class="panels">{% for title in figure.panels %}
<div>{% if figure.panels | length > 1 %}<h3>{{ title }}</h3>{% endif %}
<div class="plot" role="img" aria-label="{{ title }}: {{ figure.summary }} Numbers are in the table below.">
</div><script type="application/json">{{ data(figure, title) }}</script></div>{% endfor %}
</div>
<details><summary>Numbers of this figure</summary>{{ cells(numbers(figure)) }}</details>
</figure>{% endfor %}
{% for table in section.tables %}{% if table.folded %}<details><summary>{{ table.caption }}</summary>{{ cells(table) }}
</details>{% else %}{{ cells(table) }}{% endif %}{% endfor %}
{% if section.notes %}<ul class="quiet">{% for note in section.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% if section.links %}<ul>{% for link in section.links %}<li><a href="{{ link.href }}">{{ link.title }}</a>: \
{{ link.about }}</li>{% endfor %}</ul>{% endif %}
</section>{% endfor %}
{% endblock %}
{% block footer %}<p>These pages need no network. Instants are UTC; intervals are 95 %. A line holds at most 400 points,
evenly spread over what there is; with many lines fewer.</p>{% endblock %}
{% block end %}{% if drawn %}<script src="{{ bundle }}"></script>
<script>{{ script }}</script>{% endif %}{% endblock %}
"""


def build_page(page: Page, pages: Sequence[tuple[str, str]], dataset: str, written_at: str) -> str:
    """The page as HTML.

    Args:
        page: its content.
        pages: (file, name) of every page, in the order of the navigation.
        dataset: name in the headings.
        written_at: when, UTC, as it is shown.
    """
    return render(
        PAGE,
        page=page,
        pages=pages,
        dataset=dataset,
        written_at=written_at,
        classes=CLASSES,
        signs=SIGNS,
        palette=PALETTE,
        numbers=numbers_table,
        data=lambda figure, panel: Markup(_harmless(panel_json(figure, panel))),
        drawn=any(section.figures for section in page.sections),
        bundle=BUNDLE,
        script=Markup(files("dashboards").joinpath("site.js").read_text(encoding="utf-8")),
    )


def plotly_bundle() -> bytes:
    """Plotly's script, as the package brings it."""
    return files("plotly").joinpath("package_data", BUNDLE).read_bytes()


def _harmless(json: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
