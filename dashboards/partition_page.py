"""A landed partition's drift report: our summary in front of Evidently's. Importing it takes seconds (Evidently)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd
from evidently.presets import DataDriftPreset
from jinja2 import Environment, StrictUndefined

from dashboards.drift_page import STYLE, in_front
from dashboards.engagement_drift import compare
from dashboards.partition_drift import JENSEN_SHANNON, MARGIN, THRESHOLD, WASSERSTEIN, thresholds_of
from dashboards.partition_features import CATEGORICAL, CATEGORY, MEANING, NUMERICAL

SUMMARY: Final = """<section id="thaw" aria-labelledby="thaw-title">
<p><a href="../index.html">All pages of {{ subject.dataset }}</a></p>
<h1 id="thaw-title">Engagement drift of {{ subject.dataset }}, partition {{ subject.name }}</h1>
<p><strong>{{ subject.reason }}</strong></p>
<ul>
<li>Current: {{ subject.name }} (UTC); {{ "{:,}".format(subject.current_rows) }} of
{{ "{:,}".format(subject.current_total) }} engagements drawn.</li>
<li>Reference: from {{ subject.reference_starts_at }} to before the champion's cutoff {{ subject.cutoff }} (UTC);
{{ "{:,}".format(subject.reference_rows) }} of {{ "{:,}".format(subject.reference_total) }} engagements drawn, a user's
rows of one partition together.</li>
<li>Drawn without replacement, seed {{ subject.seed }}.</li>
<li>A column has drifted at its threshold: {{ least }}, or {{ margin }} times what chance at this size and the
reference's own partitions show, whichever is larger.</li>
<li>Items and users are measured by what was known when the reference began, on both sides.</li>
{% if left_out %}<li>Left out, without values on one side: {{ left_out | join(", ") }}.</li>{% endif %}
</ul>
<div class="scroll" tabindex="0" role="region" aria-label="Drift per column"><table>
<caption>Drift per column, the one that exceeds its threshold most first</caption>
<thead><tr><th scope="col">column</th><th scope="col">drift</th><th scope="col">score</th>
<th scope="col">threshold</th><th scope="col">distance</th><th scope="col">what it is</th></tr></thead>
<tbody>{% for row in scores %}
<tr><th scope="row">{{ row.column }}</th>
<td{% if row.drifted %} class="drifted"{% endif %}>{{ "drifted" if row.drifted else "no" }}</td>
<td class="number">{{ "%.3f" | format(row.score) }}</td><td class="number">{{ "%.3f" | format(row.threshold) }}</td>
<td>{{ row.method }}</td><td class="meaning">{{ meaning[row.column] }}</td></tr>{% endfor %}
</tbody></table></div>
<h2>Evidently's report</h2>
</section>
"""


@dataclass(frozen=True)
class PartitionSubject:
    """What a report compares; ``*_rows`` were drawn of ``*_total`` engagements.

    Attributes:
        name: key of the partition.
        reason: the verdict in words.
        reference_starts_at, cutoff: of the reference, ISO.
        category: item feature behind the category column, if any.
    """

    dataset: str
    name: str
    reason: str
    reference_starts_at: str
    cutoff: str
    reference_rows: int
    reference_total: int
    current_rows: int
    current_total: int
    seed: int
    category: str | None


def partition_page(
    reference: pd.DataFrame, current: pd.DataFrame, scores: pd.DataFrame, subject: PartitionSubject
) -> str:
    """The page: summary, then Evidently's drift and summary of the two samples under the same thresholds.

    Args:
        reference, current: partition features.
        scores: what :func:`dashboards.partition_drift.judge` says of them.

    Raises:
        ValueError: when no column was compared, or Evidently's page has changed.
    """
    columns = [name for name in MEANING if name in set(scores["column"])]
    if not columns:
        raise ValueError(f"nothing to compare: {len(reference)} reference rows, {len(current)} current rows")
    drift = DataDriftPreset(
        num_method=WASSERSTEIN, cat_method=JENSEN_SHANNON, per_column_threshold=dict(thresholds_of(scores))
    )
    numerical, categorical = ([name for name in columns if name in kind] for kind in (NUMERICAL, CATEGORICAL))
    snapshot = compare(reference[columns], current[columns], numerical, categorical, drift)
    title = f"Drift of {subject.dataset}, partition {subject.name}"
    return in_front(snapshot.get_html_str(as_iframe=False), STYLE + _summary(scores, subject), title)


def _summary(scores: pd.DataFrame, subject: PartitionSubject) -> str:
    return (
        Environment(autoescape=True, undefined=StrictUndefined)
        .from_string(SUMMARY)
        .render(
            subject=subject,
            scores=scores.to_dict("records"),
            meaning=_meaning(subject.category),
            left_out=[name for name in MEANING if name not in set(scores["column"])],
            least=THRESHOLD,
            margin=MARGIN,
        )
    )


def _meaning(category: str | None) -> Mapping[str, str]:
    said = f"first {category} of the item; the most frequent ones by name, others together"
    return {**MEANING, CATEGORY: said if category else "category of the item; this dataset has none"}
