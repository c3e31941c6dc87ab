"""The champion's page: what serves, how it came to, the latest contest, and the evidence behind the decay alert."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from assets.schema import CaseSlice
from dashboards.site_parts import Cell, Page, Section, State, Table, instant, missing, number, with_interval

FILE = "champion.html"
MOST_EVENTS: Final = 100
KINDS: Final = {
    "first": "the first to serve",
    "run": "built by a run",
    "won": "won a contest",
    "lost": "challenger lost",
    "rollback": "rolled back",
}
STATES: Final = {"won": State.GOOD, "rollback": State.WARN}
SIDES: Final = ("reference", "recent")
HEADLINES: Final = ("hr", "ndcg")
SLICES: Final = tuple(map(str, (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)))
ENDS: Final = ("value", "ci_low", "ci_high")


def champion_page(
    serving: Mapping[str, Any] | None,
    record: Sequence[Mapping[str, Any]],
    contest: Mapping[str, Any] | None,
    alert: Mapping[str, Any] | None,
) -> Page:
    """The page.

    Args:
        serving: what the serving generation says of itself, in the order to show.
        record: events of the record, the oldest first.
        contest: the account of the latest one.
        alert: the latest judgement of decay.
    """
    sections = [
        Section("Serving", tables=[account("What serves", serving)])
        if serving
        else missing("Serving", "thaw run builds an index that serves."),
        alert_section(alert),
        _contest(contest),
        _record(record),
    ]
    return Page(FILE, "Champion", "Which model serves, since when, and what challenged it.", sections)


def alert_section(alert: Mapping[str, Any] | None) -> Section:
    """The judgement and both sides of it."""
    if alert is None:
        return missing("Decay alert", "it is judged when partitions landed after the champion's cutoff.")
    rows = []
    for side in SIDES:
        held = alert.get(side) or {}
        floor = (alert.get("against_floor") or {}).get(side)
        cells = (held.get("cases"), held.get("value"), floor)
        span = [Cell(instant(held.get("starts_at"))), Cell(instant(held.get("ends_at")))]
        rows.append([Cell(side), *span, *(Cell(number(value)) for value in cells)])
    ratio = f"ratio {number(alert.get('ratio'))} [{number(alert.get('ci_low'))}, {number(alert.get('ci_high'))}]"
    alerted = "alert" if alert["alerted"] else "no alert"
    text = (
        f"{alerted.capitalize()}: {alert['reason']} (recent over reference: {ratio}; tolerance {alert['tolerance']:g})"
    )
    columns = ["days", "from (UTC)", "to before (UTC)", "cases", "NDCG@10", "ahead of the floor by"]
    table = Table("What was compared", columns, rows, frozenset(columns[3:]))
    return Section("Decay alert", text=[text], tables=[table], notes=[f"Judged {instant(alert.get('at'))}."])


def _contest(contest: Mapping[str, Any] | None) -> Section:
    if contest is None:
        return missing("Latest contest", "thaw retrain trains a challenger and holds one.")
    plain = {name: value for name, value in contest.items() if name not in {"metrics", "field", "reason"}}
    tables = _metrics(contest["metrics"]) if contest.get("metrics") else []
    tables.append(replace(account("The account of the contest", plain), folded=True))
    words = f"{contest.get('verdict', '')}: {contest.get('reason', '')}"
    return Section("Latest contest", text=[words], tables=tables)


def _metrics(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Contenders beside each other, a row per slice and metric: what the contest is about, then, folded, the rest."""
    frame = pd.DataFrame(list(rows))
    headline = frame["metric"].isin(HEADLINES) & frame["slice"].isin(SLICES)
    parts = {"On the newest window, with 95 % intervals": frame[headline], "Every slice and metric": frame[~headline]}
    names = list(dict.fromkeys(frame["contender"]))
    return [
        replace(_beside(caption, part, names), folded=place > 0)
        for place, (caption, part) in enumerate(parts.items())
        if len(part)
    ]


def _beside(caption: str, frame: pd.DataFrame, names: Sequence[str]) -> Table:
    lines = []
    for (part, metric, k), group in frame.groupby(["slice", "metric", "k"], sort=False):
        of = {row["contender"]: row for row in group.to_dict("records")}
        values = [with_interval(*(of[name][end] for end in ENDS)) if name in of else "" for name in names]
        title = f"{part}, {metric}@{k}" if k else f"{part}, {metric}"
        lines.append([Cell(title), *map(Cell, values), Cell(number(int(group["n"].max())))])
    columns = ["slice, metric", *names, "cases"]
    return Table(caption, columns, lines, frozenset(columns[1:]))


def _record(record: Sequence[Mapping[str, Any]]) -> Section:
    if not record:
        return missing("Record", "every change of what serves is written down.")
    rows = [
        [
            Cell(instant(event["at"])),
            Cell(instant(event.get("event_at"))),
            Cell(KINDS.get(event["kind"], str(event["kind"])), state=STATES.get(event["kind"], "")),
            *(Cell(str(event.get(name) or "")) for name in ("model", "generation", "previous", "contest")),
        ]
        for event in reversed(record[-MOST_EVENTS:])
    ]
    columns = ["at (UTC)", "event clock (UTC)", "what", "model", "generation", "before", "contest"]
    caption = f"Changes and contests, newest first; {len(rows)} of {len(record)}"
    return Section("Record", tables=[Table(caption, columns, rows)])


def account(caption: str, values: Mapping[str, Any]) -> Table:
    """Names and values of something's own account, nested ones with their path."""
    rows = [[Cell(name), Cell(text)] for name, text in _flat(values)]
    return Table(caption, ["what", "value"], rows)


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, value in values.items():
        path = f"{before}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            lines += _flat(value, f"{path}: ")
        else:
            lines.append((path, _text(str(name), value)))
    return lines


def _text(name: str, value: Any) -> str:
    if isinstance(value, str | bool) or value is None:
        return "" if value is None else str(value)
    if name == "at" or name.endswith("_at") or name in {"cutoff", "until", "trained_until"}:
        return instant(value)
    if isinstance(value, list | tuple):
        return ", ".join(_text("", each) for each in value)
    return number(value, 4)
