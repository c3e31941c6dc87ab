"""Data Docs: one page with every table's validation result. A pure builder: results in, HTML out.

Great Expectations' own pages load their style from a content network and are blank without one.
"""

from collections.abc import Sequence
from typing import TypedDict

from dashboards.layout import render


class Sample(TypedDict):
    """Cells as text: ``columns`` and ``rows``."""

    columns: list[str]
    rows: list[list[str]]


class ExpectationResult(TypedDict):
    """One expectation on one table.

    ``severity`` is ``error`` (fails the check) or ``warning`` (does not). ``checked`` and ``unexpected`` count rows
    and are None where the expectation is not about rows; ``observed`` says what was found instead.
    """

    name: str
    about: str
    column: str
    success: bool
    severity: str
    checked: int | None
    unexpected: int | None
    observed: str
    failing: Sample | None
    error: str


class TableResult(TypedDict):
    """All expectations on one table. ``started_at`` and ``written_at`` (of the table's file) are ISO 8601, UTC."""

    name: str
    success: bool
    rows: int
    started_at: str
    seconds: float
    written_at: str
    expectations: list[ExpectationResult]


PASSED, WARNED, FAILED = "passed", "warned", "failed"
SIGNS = {PASSED: "✓ passed", WARNED: "! warning", FAILED: "✗ failed"}

PAGE = """{% extends "frame" %}
{% from "table" import table %}
{% block title %}Data quality of {{ dataset }}: {{ headline }}{% endblock %}
{% block header %}
<h1>Data quality of {{ dataset }}</h1>
<p class="status {{ state }}">{{ headline }}</p>
<ul class="tiles">
<li><strong>{{ results | length }}</strong> tables and rules validated</li>
<li><strong>{{ counts.passed }}</strong> expectations passed</li>
<li><strong>{{ counts.warned }}</strong> warnings</li>
<li><strong>{{ counts.failed }}</strong> failed</li>
<li><strong>{{ "%.1f s" | format(seconds) }}</strong> of validation</li>
</ul>
{% if missing %}<p class="status warned">! not validated yet: {{ missing | join(", ") }}</p>{% endif %}
{% if stale %}<p class="status warned">! written again since validated: {{ stale | join(", ") }}</p>{% endif %}
{% endblock %}
{% block main %}
<section aria-labelledby="glance">
<h2 id="glance">At a glance</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Status of every table"><table>
<caption>Status of every table</caption>
<thead><tr><th scope="col">table</th><th scope="col">status</th><th scope="col" class="number">rows</th>
<th scope="col" class="number">passed</th><th scope="col" class="number">not</th>
<th scope="col">validated (UTC)</th><th scope="col" class="number">seconds</th></tr></thead>
<tbody>{% for result in results %}
<tr><td><a href="#{{ result.name }}">{{ result.name }}</a></td>
<td class="status {{ states[result.name] }}">{{ signs[states[result.name]] }}</td>
<td class="number">{{ "{:,}".format(result.rows) }}</td>
<td class="number">{{ result.expectations | selectattr("success") | list | length }}</td>
<td class="number">{{ result.expectations | rejectattr("success") | list | length }}</td>
<td class="instant">{{ result.started_at }}</td>
<td class="number">{{ "%.2f" | format(result.seconds) }}</td></tr>{% endfor %}
</tbody></table></div>
</section>
{% for result in results %}
<section aria-labelledby="{{ result.name }}">
<h2 id="{{ result.name }}">{{ result.name }}
<span class="status {{ states[result.name] }}">{{ signs[states[result.name]] }}</span></h2>
<div class="scroll wide" tabindex="0" role="region" aria-label="Expectations on {{ result.name }}"><table>
<caption>{{ result.expectations | length }} expectations on {{ "{:,}".format(result.rows) }} rows</caption>
<thead><tr><th scope="col">expectation</th><th scope="col">status</th><th scope="col">column</th>
<th scope="col" class="number">checked</th><th scope="col" class="number">unexpected</th><th scope="col">observed</th>
</tr></thead>
<tbody>{% for one in result.expectations %}
<tr><th scope="row">{{ one.about }}</th>
<td class="status {{ status(one) }}">{{ signs[status(one)] }}</td><td><code>{{ one.column }}</code></td>
<td class="number">{{ "" if one.checked is none else "{:,}".format(one.checked) }}</td>
<td class="number">{{ "" if one.unexpected is none else "{:,}".format(one.unexpected) }}</td>
<td class="value">{{ one.error or one.observed }}</td></tr>{% endfor %}
</tbody></table></div>
{% for one in result.expectations if one.failing %}
<details open><summary>Rows that fail: {{ one.about }}</summary>
{{ table(one.failing, "%d of %d failing rows" | format(one.failing.rows | length, one.unexpected or 0)) }}
</details>{% endfor %}
</section>
{% endfor %}
{% endblock %}
{% block footer %}<p>An error stops everything downstream of its table; a warning is reported and stops nothing.
Each expectation shows at most {{ shown_rows }} of the rows that fail it.</p>{% endblock %}
"""


def expectation_state(result: ExpectationResult) -> str:
    """``passed``, ``warned`` (failed, but only a warning) or ``failed``."""
    if result["success"]:
        return PASSED
    return WARNED if result["severity"] == "warning" else FAILED


def table_state(result: TableResult) -> str:
    """The worst state of a table's expectations."""
    states = {expectation_state(one) for one in result["expectations"]}
    return next((state for state in (FAILED, WARNED) if state in states), PASSED)


def build_data_docs(
    dataset: str,
    results: Sequence[TableResult],
    missing: Sequence[str] = (),
    stale: Sequence[str] = (),
    shown_rows: int = 20,
) -> str:
    """The page as HTML.

    Args:
        dataset: name shown in the title.
        results: one per table, in the order of the page.
        missing: tables that ought to be validated and are not.
        stale: tables written again since their result.
        shown_rows: how many failing rows a result holds at most.
    """
    states = {result["name"]: table_state(result) for result in results}
    counts = dict.fromkeys((PASSED, WARNED, FAILED), 0)
    for result in results:
        for one in result["expectations"]:
            counts[expectation_state(one)] += 1
    failed = [name for name, state in states.items() if state == FAILED]
    uncertain = bool(missing or stale or counts[WARNED])
    return render(
        PAGE,
        dataset=dataset,
        results=results,
        states=states,
        counts=counts,
        signs=SIGNS,
        status=expectation_state,
        state=FAILED if failed else WARNED if uncertain else PASSED,
        headline=_headline(failed, bool(missing or stale), counts[WARNED]),
        seconds=sum(result["seconds"] for result in results),
        missing=missing,
        stale=stale,
        shown_rows=shown_rows,
    )


def _headline(failed: Sequence[str], incomplete: bool, warnings: int) -> str:
    if failed:
        return f"✗ {len(failed)} failed: {', '.join(failed)}"
    if incomplete:
        return "! not every table is validated as it is now"
    return f"✓ all passed, {warnings} warnings" if warnings else "✓ all passed"
