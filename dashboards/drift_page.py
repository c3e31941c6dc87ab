"""The opening of a drift report's page: what is compared with what, how much of it was drawn, and the scores.

Evidently's page says none of this, so it is put in front of Evidently's own content.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import pandas as pd
from jinja2 import Environment, StrictUndefined

from dashboards.drift_features import CATEGORY, MEANING

STYLE: Final = """<style>
#thaw { --ground: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --panel: #f6f8fa; --bad: #b3161f;
  --link: #0550ae; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  padding: 1rem max(1.5rem, (100% - 76rem) / 2); }
@media (prefers-color-scheme: dark) { #thaw { --ground: #0d1117; --ink: #e6edf3; --quiet: #9ea7b3; --line: #363d46;
  --panel: #161b22; --bad: #ff8f87; --link: #79b8ff; } }
#thaw h1 { font-size: 1.6rem; margin: .5rem 0; } #thaw h2 { font-size: 1.2rem; } #thaw a { color: var(--link); }
#thaw .scroll { overflow-x: auto; } #thaw table { border-collapse: collapse; width: 100%; font-size: .9rem; }
#thaw caption { text-align: left; color: var(--quiet); padding: .25rem 0; }
#thaw th, #thaw td { text-align: left; vertical-align: top; padding: .35rem .6rem;
  border-top: 1px solid var(--line); }
#thaw thead th { background: var(--panel); } #thaw td.number { text-align: right; }
#thaw .meaning { min-width: 16rem; } #thaw .drifted { color: var(--bad); font-weight: 600; }
body { margin: 0; }
/* Evidently lays out for wide windows and cuts off the rest: on a narrow one its part scrolls sideways. */
@media (max-width: 800px) { [id^="root_"] { overflow-x: auto; } [id^="root_"] > * { min-width: 800px; } }
</style>
"""
"""Of our part of a report's page."""

SUMMARY: Final = """<section id="thaw" aria-labelledby="thaw-title">
<p><a href="../index.html">All pages of {{ subject.dataset }}</a></p>
<h1 id="thaw-title">Engagement drift of {{ subject.dataset }}, window {{ subject.window }}</h1>
<p><strong>{{ drifted }} of {{ scores | length }} columns drifted</strong> (distance of at least the threshold).</p>
<ul>
<li>Current: window {{ subject.window }}, from {{ at.starts_at }} to before {{ at.ends_at }} (UTC);
{{ "{:,}".format(subject.current_rows) }} of {{ "{:,}".format(subject.current_total) }} engagements drawn.</li>
<li>Reference: train time, from {{ at.reference_starts_at }} to before the cutoff {{ at.cutoff }} (UTC);
{{ "{:,}".format(subject.reference_rows) }} of {{ "{:,}".format(subject.reference_total) }} engagements drawn.</li>
<li>Drawn without replacement, seed {{ subject.seed }}.</li>
<li>Counts of train engagements are those at the cutoff, on both sides. For the window that is its past. An engagement
of train time is measured by all of train time, its own and later engagements included: the ruler is what a model
frozen at the cutoff knows, so every item and user of the reference is known and no item of it is cold, by construction.
</li>
{% if left_out %}<li>Left out, without values on one side: {{ left_out | join(", ") }}.</li>{% endif %}
</ul>
<div class="scroll" tabindex="0" role="region" aria-label="Drift per column"><table>
<caption>Drift per column, strongest first</caption>
<thead><tr><th scope="col">column</th><th scope="col">drift</th><th scope="col">score</th>
<th scope="col">threshold</th><th scope="col">distance</th><th scope="col">what it is</th></tr></thead>
<tbody>{% for row in scores %}
<tr><th scope="row">{{ row.column }}</th>
<td{% if row.drifted %} class="drifted"{% endif %}>{{ "drifted" if row.drifted else "no" }}</td>
<td class="number">{{ "%.3f" | format(row.score) }}</td><td class="number">{{ row.threshold }}</td>
<td>{{ row.method }}</td><td class="meaning">{{ meaning[row.column] }}</td></tr>{% endfor %}
</tbody></table></div>
<h2>Evidently's report</h2>
</section>
"""


INSTANTS: Final = ("starts_at", "ends_at", "reference_starts_at", "cutoff")


@dataclass(frozen=True)
class DriftSubject:
    """What a report compares. Instants are naive UTC; ``*_rows`` were drawn of ``*_total`` engagements.

    ``category`` names the item feature behind the category column, None where items have none.
    """

    dataset: str
    window: int
    starts_at: pd.Timestamp
    ends_at: pd.Timestamp
    reference_starts_at: pd.Timestamp
    cutoff: pd.Timestamp
    reference_rows: int
    reference_total: int
    current_rows: int
    current_total: int
    seed: int
    category: str | None = None


def with_summary(html: str, subject: DriftSubject, scores: pd.DataFrame) -> str:
    """Evidently's page with a title and our summary in front of its content.

    Args:
        scores: columns column, method, threshold, score, drifted.

    Raises:
        ValueError: when the page has no body to put the summary into.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    summary = environment.from_string(SUMMARY).render(
        subject=subject,
        at={name: f"{getattr(subject, name):%Y-%m-%d %H:%M:%S}" for name in INSTANTS},
        scores=scores.to_dict("records"),
        drifted=int(scores["drifted"].sum()),
        meaning=_meaning(subject.category),
        left_out=_left_out(scores["column"].tolist()),
    )
    return in_front(html, STYLE + summary, f"Drift of {subject.dataset}, window {subject.window}")


def in_front(html: str, summary: str, title: str) -> str:
    """Evidently's page with a title, and ``summary`` (HTML) in front of its content.

    Raises:
        ValueError: when the page has no body to put the summary into.
    """
    opening = "<body>"
    head, found, body = html.partition(opening)
    if not found:
        raise ValueError("Evidently's page has no <body>: its layout changed, adapt dashboards/drift_page.py")
    return f"{head.replace('</head>', f'<title>{escape(title)}</title></head>')}{opening}{summary}{body}"


def _meaning(category: str | None) -> dict[str, str]:
    if category is None:
        return {**MEANING, CATEGORY: "category of the item; this dataset has none"}
    return {**MEANING, CATEGORY: f"first {category} of the item; the most frequent ones by name, others together"}


def _left_out(columns: Sequence[str]) -> list[str]:
    return [column for column in MEANING if column not in columns]
