"""What every page of ours shares: one style for dark and light, laptop and phone, and a frame that escapes everything.

Pages name nothing outside the folder they lie in, so they open from disk without a network.
"""

from functools import cache

from jinja2 import DictLoader, Environment, StrictUndefined, Template

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --panel: #f6f8fa;
  --good: #116329; --warn: #7d4e00; --bad: #b3161f; --link: #0550ae;
  --c0: #0072b2; --c1: #c24e00; --c2: #007a59; --c3: #a8437d; --c4: #8a6100; --c5: #5b5bd6; --c6: #4d4d4d;
  --c7: #b3161f; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --quiet: #9ea7b3; --line: #363d46;
  --panel: #161b22; --good: #56d364; --warn: #e3b341; --bad: #ff8f87; --link: #79b8ff;
  --c0: #56b4e9; --c1: #ff9a4d; --c2: #35c99c; --c3: #f09ecb; --c4: #e3b341; --c5: #a5a5ff; --c6: #c9d1d9;
  --c7: #ff8f87; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, nav, main, footer { max-width: 68rem; margin: 0 auto; padding: 1rem; }
footer, .quiet { color: var(--quiet); }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 0 0 .5rem; } h3 { font-size: 1rem; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, button:focus-visible, .scroll:focus-visible, main:focus-visible {
  outline: 3px solid var(--link); }
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
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: .25rem; background: var(--ground); padding: .25rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; margin: 0; list-style: none; }
nav a { display: inline-block; padding: .25rem 0; }
nav a[aria-current] { color: var(--ink); font-weight: 600; text-decoration-thickness: .2rem; }
.unknown { color: var(--quiet); }
.topics { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1rem; padding: 0;
  margin: 0 0 1rem; list-style: none; }
.topics li { border: 1px solid var(--line); border-left: .4rem solid currentColor; border-radius: .5rem;
  padding: 1rem; }
.topics p { color: var(--ink); margin: .25rem 0 0; overflow-wrap: anywhere; }
.topics h3 { margin: 0; color: var(--ink); }
figure { margin: 1rem 0; } figcaption { margin: 0 0 .5rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: .5rem 1rem; }
.panels > div { min-width: 0; } .panels h3 { margin: .5rem 0 0; } .plot { height: 17rem; overflow: hidden; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem .5rem; padding: 0; margin: .5rem 0; list-style: none; }
.legend button { font: inherit; font-size: .9rem; color: var(--ink); background: var(--panel); cursor: pointer;
  border: 1px solid var(--line); border-radius: .25rem; padding: .15rem .5rem; }
.legend button[aria-pressed=false] { text-decoration: line-through; color: var(--quiet); }
.key { display: inline-block; width: 1.5rem; border-top: .2rem solid; vertical-align: middle; margin-right: .35rem; }
.dashed { border-top-style: dashed; } .dotted { border-top-style: dotted; }
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
<a class="skip" href="#main">Skip to the content</a>
{% block nav %}{% endblock %}
<header>{% block header %}{% endblock %}</header>
<main id="main" tabindex="-1">{% block main %}{% endblock %}</main>
<footer>{% block footer %}{% endblock %}</footer>
{% block end %}{% endblock %}
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


@cache
def _template(source: str) -> Template:
    return _environment().from_string(source)


def render(template: str, **values: object) -> str:
    """Fill a template that extends ``frame``; every value is escaped.

    Raises:
        jinja2.UndefinedError: when the template uses a value that was not given.
    """
    return _template(template).render(**values)
