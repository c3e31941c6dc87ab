"""Status at a glance: one topic each, with the reason. What was not measured is UNKNOWN, never good."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from dashboards.data_docs import FAILED, WARNED, TableResult, table_state
from dashboards.site_parts import State, Topic, instant, number

QUALITY: Final = "Data quality"
DRIFT: Final = "Drift"
DECAY: Final = "Decay of the champion"
CHAMPION: Final = "Champion"
FRESHNESS: Final = "Freshness"
RECALL: Final = "Index recall"

NAMED: Final = 5
"""Names that a reason lists; of more it gives the number."""


def quality_topic(tables: Sequence[TableResult], missing: Sequence[str], stale: Sequence[str]) -> Topic:
    """Bad where a table fails its checks; a look where one only warns, is not validated, or was written since."""

    def topic(state: State, reason: str) -> Topic:
        return Topic(QUALITY, state, reason, "data-quality.html")

    if not tables:
        return topic(State.UNKNOWN, "No table was validated yet.")
    states = {table["name"]: table_state(table) for table in tables}
    failed = [name for name, state in states.items() if state == FAILED]
    if failed:
        return topic(State.BAD, f"Checks fail on {named(failed)}.")
    if missing:
        return topic(State.WARN, f"Not validated yet: {named(missing)}.")
    if stale:
        return topic(State.WARN, f"Written again since validated: {named(stale)}.")
    warned = [name for name, state in states.items() if state == WARNED]
    if warned:
        return topic(State.WARN, f"Warnings on {named(warned)}.")
    return topic(State.GOOD, f"All {len(tables)} tables and rules pass.")


def drift_topic(verdicts: pd.DataFrame | None) -> Topic:
    """A look where the newest judged partition is drifted; test windows speak where nothing landed.

    Drift is a property of the data: it asks for a look, never for an act. What it does to the model is another topic.
    """

    def topic(state: State, reason: str) -> Topic:
        return Topic(DRIFT, state, reason, "drift.html")

    if verdicts is None or verdicts.empty:
        return topic(State.UNKNOWN, "No partition or test window was compared with its reference yet.")
    landed = verdicts[verdicts["kind"] == "partition"]
    looked_at = landed if len(landed) else verdicts
    looked_at = looked_at.sort_values("starts_at", kind="stable")
    judged = looked_at[looked_at["judged"].astype(bool)]
    if judged.empty:
        last = looked_at.iloc[-1]
        none = f"None of {len(looked_at)} {last['kind']}s was judged"
        return topic(State.UNKNOWN, f"{none}; the newest, {last['name']}: {last['reason'] or 'no reason was given'}.")
    newest = judged.iloc[-1]
    where = f"{newest['kind']} {newest['name']}"
    if newest["alarm"]:
        return topic(State.WARN, f"The newest {where} is drifted: {newest['reason'] or named(list(newest['drifted']))}")
    alarms = int(judged["alarm"].sum())
    return topic(State.GOOD, f"The newest {where} is as its reference; {alarms} of {len(judged)} judged were not.")


def decay_topic(alert: Mapping[str, Any] | None, serving: str | None) -> Topic:
    """Bad under an alert; a look where the loss is beyond the tolerance inside its interval, or the floor is ahead.

    Args:
        alert: the latest judgement.
        serving: digest of the checkpoint that serves; a judgement of another one says nothing about it.
    """

    def topic(state: State, reason: str) -> Topic:
        return Topic(DECAY, state, reason, "champion.html")

    if alert is None:
        return topic(State.UNKNOWN, "The champion's quality on landed data was not judged yet.")
    if serving is not None and not serving.startswith(alert["checkpoint"][:12]):
        return topic(State.UNKNOWN, "The latest judgement is of a former champion.")
    return topic(*_judged(alert))


def _judged(alert: Mapping[str, Any]) -> tuple[State, str]:
    reason, ratio = str(alert["reason"]), alert.get("ratio")
    if alert["alerted"]:
        return State.BAD, reason
    if ratio is None or pd.isna(ratio):
        return State.UNKNOWN, reason
    if ratio < 1 - alert["tolerance"]:
        return State.WARN, f"Beyond the tolerance, though not outside the interval: {reason}"
    recent = (alert.get("against_floor") or {}).get("recent")
    if recent is not None and recent < 0:
        return State.WARN, f"The floor is ahead by {number(-recent)} NDCG@10 on the latest days."
    return State.GOOD, reason


def champion_topic(record: Sequence[Mapping[str, Any]], serving: Mapping[str, Any] | None, alerted: bool) -> Topic:
    """Which model serves and how it came to; a look after a rollback, or a lost contest while the alert stands.

    Args:
        record: of promotions, the oldest first.
        serving: ``model`` and ``generation`` of what serves.
        alerted: whether the decay alert stands.
    """

    def topic(state: State, reason: str) -> Topic:
        return Topic(CHAMPION, state, reason, "champion.html")

    if serving is None:
        return topic(State.UNKNOWN, "Nothing serves yet.")
    serves = f"{serving['model']} serves"
    if not record:
        return topic(State.GOOD, f"{serves}; no contest was held yet.")
    last = record[-1]
    when = instant(last["at"])
    if last["kind"] == "rollback":
        return topic(State.WARN, f"{serves} after a rollback ({when}).")
    if last["kind"] == "lost":
        tried = f"{serves}; its latest challenger lost ({when})"
        return topic(State.WARN, f"{tried}, and the decay alert stands.") if alerted else topic(State.GOOD, f"{tried}.")
    how = "since it won a contest" if last["kind"] == "won" else "since a run built it"
    return topic(State.GOOD, f"{serves} {how} ({when}).")


def freshness_topic(report: pd.DataFrame | None, bound: float) -> Topic:
    """Bad where 95 % of engagements take longer than ``bound`` seconds to be searchable; a look where some wait."""

    def topic(state: State, reason: str) -> Topic:
        return Topic(FRESHNESS, state, reason, "freshness.html")

    rows = None if report is None else report[(report["group"] == "all") & (report["hop"] == "searchable")]
    if rows is None or rows.empty or not float(rows.iloc[0]["engagements"] or 0) > 0:
        return topic(State.UNKNOWN, "Nothing landed became searchable yet.")
    row = rows.iloc[0]
    measured = f"95 % of {row['engagements']:,.0f} engagements were searchable within {row['p95']:,.1f} s"
    if row["p95"] > bound:
        return topic(State.BAD, f"{measured}; allowed are {bound:g} s.")
    if row["waiting"] > 0:
        return topic(State.WARN, f"{measured}; {row['waiting']:,.0f} more wait.")
    return topic(State.GOOD, f"{measured} of at most {bound:g} s.")


def recall_topic(recall: float | None, minimum: float) -> Topic:
    """Bad where the snapshot's recall@10 against exact search is under the minimum."""
    if recall is None or pd.isna(recall):
        return Topic(RECALL, State.UNKNOWN, "No index was measured yet.", "freshness.html")
    reason = f"recall@10 of the latest snapshot is {recall:.3f}; at least {minimum:g} is wanted."
    return Topic(RECALL, State.GOOD if recall >= minimum else State.BAD, reason, "freshness.html")


def worst(topics: Sequence[Topic]) -> State:
    """The state of all together: bad before a look before not measured before good."""
    held = {topic.state for topic in topics}
    return next((state for state in (State.BAD, State.WARN, State.UNKNOWN) if state in held), State.GOOD)


def named(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more} more" if more > 0 else "")
