"""Answers of the live index as tables for the terminal."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from assets.serving.retrieval.answers import Reason, Result


def user_title(user: str, has_history: bool) -> str:
    """Whose results these are."""
    return f"For user {escape(user)}" if has_history else f"User {escape(user)} has no history: what is popular"


def answer_table(results: Sequence[Result], title: str, why: bool) -> Table:
    """A row per result, best first; ``why`` adds a column of reasons."""
    table = Table(title=title, title_justify="left")
    for name in ("#", "item", "title", "score", "age, days", "engagements", "embedded", *(["why"] if why else [])):
        # Folded where the terminal is narrow: half an id or half a date is of no use.
        number = name in ("#", "score", "age, days", "engagements")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for place, result in enumerate(results, start=1):
        reasons = _reasons(result.why or ())
        cells = [
            str(place),
            result.item_id,
            result.title or "",
            f"{result.score:.3f}",
            "" if result.age_days is None else f"{result.age_days:,.1f}",
            f"{result.engagements:,}",
            "" if result.embedded_at is None else f"{result.embedded_at:%Y-%m-%d %H:%M:%S}",
            *([", ".join(reasons)] if why else []),
        ]
        table.add_row(*map(escape, cells))
    return table


def _reasons(why: Sequence[Reason]) -> list[str]:
    """The nearest item of the history whatever its cosine, others only where they point the same way."""
    near = [reason for place, reason in enumerate(why) if place == 0 or reason.cosine > 0]
    return [f"{reason.title or reason.item_id} ({reason.cosine:.2f})" for reason in near]
