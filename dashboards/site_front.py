"""The front page: status at a glance, and where to read more."""

from collections.abc import Sequence
from typing import Final

from dashboards.site_parts import Link, Page, Section, State, Topic
from dashboards.site_status import named, worst

FILE = "index.html"
LEADS: Final = {
    State.GOOD: "Everything that is watched is good.",
    State.WARN: "To look at: {}.",
    State.BAD: "To act on: {}.",
    State.UNKNOWN: "Nothing is wrong with what was measured; not measured yet: {}.",
}
MEANING: Final = (
    "✓ good: measured, and within its bound.",
    "! look: beyond a bound, or incomplete, without harm to what serves yet.",
    "✗ act: a check fails or what serves got worse beyond its tolerance.",
    "? not measured: there is nothing to say yet, which is not the same as good.",
)


def front_page(topics: Sequence[Topic], links: Sequence[Link], problems: Sequence[str]) -> Page:
    """The page; ``problems`` are files that could not be read, in words."""
    state = worst(topics)
    lead = LEADS[state].format(named([topic.name for topic in topics if topic.state == state]))
    sections = [Section("What the signs mean", notes=MEANING)]
    if problems:
        sections.insert(0, Section("Could not be read", notes=problems))
    if links:
        sections.append(Section("Files", links=links))
    return Page(FILE, "Overview", lead, sections, topics)
