"""What every page of ours shares: one style for dark and light, laptop and phone, and a frame that escapes everything.

Pages name nothing outside the folder they lie in, so they open from disk without a network.
"""

from functools import cache

from jinja2 import DictLoader, Environment, StrictUndefined

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --panel: #f6f8fa;
  --good: #116329; --warn: #7d4e00; --bad: #b3161f; --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --quiet: #9ea7b3; --line: #363d46;
  --panel: #161b22; --good: #56d364; --warn: #e3b341; --bad: #ff8f87; --link: #79b8ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 1rem; }
footer, .quiet { color: var(--quiet); }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 0 0 .5rem; } h3 { font-size: 1rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--link); }
section { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 0 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; color: var(--quiet); padding: .25rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-top: 1px solid var(--line); }
thead th { background: var(--panel); white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody th { font-weight: 400; } .wide tbody th { min-width: 11rem; }
.instant { white-space: nowrap; }
td.value { overflow-wrap: anywhere; } td.roomy { min-width: 16rem; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
summary { cursor: pointer; padding: .25rem 0; }
.status { font-weight: 600; } td.status, span.status { white-space: nowrap; }
.passed { color: var(--good); } .warned { color: var(--warn); } .failed { color: var(--bad); }
.tiles { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; margin: 1rem 0; list-style: none; }
.tiles li { flex: 1 1 9rem; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem;
  background: var(--panel); }
.tiles strong { display: block; font-size: 1.3rem; }
img { max-width: 100%; height: auto; background: #fff; border-radius: .25rem; }
"""

FRAME = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{% block title %}{% endblock %}</title>
<style>"""
    + STYLE
    + """</style>
</head>
<body>
<header>{% block header %}{% endblock %}</header>
<main>{% block main %}{% endblock %}</main>
<footer>{% block footer %}{% endblock %}</footer>
</body>
</html>
"""
)

TABLE = """{% macro table(frame, caption) %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ caption }}"><table>
<caption>{{ caption }}</caption>
<thead><tr>{% for name in frame.columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in frame.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% endmacro %}
"""


@cache
def _environment() -> Environment:
    return Environment(
        loader=DictLoader({"frame": FRAME, "table": TABLE}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def render(template: str, **values: object) -> str:
    """Fill a template that extends ``frame``; every value is escaped.

    Raises:
        jinja2.UndefinedError: when the template uses a value that was not given.
    """
    return _environment().from_string(template).render(**values)
