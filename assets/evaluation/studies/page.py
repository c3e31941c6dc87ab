"""The page of a dataset's studies, from what they left: one Markdown text. Pure; the files are the caller's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from assets.evaluation.studies.files import StudyResults
from assets.evaluation.studies.registry import Study

COMMIT_SHOWN = 12


@dataclass(frozen=True)
class Section:
    """One study on the page.

    Attributes:
        split: under which it was made, in words.
        figure: its file name beside the page, where it has one.
    """

    study: Study
    results: StudyResults
    split: str
    figure: str | None = None


@dataclass(frozen=True)
class PageOrigin:
    """Where the page comes from.

    Attributes:
        command: what was typed.
        commit: of the code that rendered it.
        facts: (name, value) of the dataset.
        missing: title -> why a registered study is not on the page.
    """

    command: str
    commit: str
    facts: Sequence[tuple[str, str]]
    missing: Mapping[str, str]


def page(dataset: str, sections: Sequence[Section], origin: PageOrigin) -> str:
    """The page. Equal input gives equal text."""
    parts = [
        f"# {dataset}: what makes up HRNN-meta",
        "The tables of Ma et al., *Temporal-Contextual Recommendation in Real-Time* (KDD 2020), on this dataset. Each "
        "says what the paper reports; datasets, catalogs and protocols differ, so figures do not compare, what they "
        "say of each other does.",
        _table([("made by", f"`{origin.command}`"), ("commit", origin.commit), *origin.facts]),
        *(_section(section) for section in sections),
    ]
    if origin.missing:
        parts += ["## Not on this page", "\n".join(f"- {title}: {why}" for title, why in origin.missing.items())]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _section(section: Section) -> str:
    account, text = section.results.account, section.results.text
    if section.figure is not None:
        text = text.replace(f"]({section.study.name}.png)", f"]({section.figure})")
    seeds = ", ".join(map(str, account["seeds"]))
    made = f"*Split: {section.split}. Seeds: {seeds}. Made at {str(account['git_revision'])[:COMMIT_SHOWN]}.*"
    return f"## {section.study.title}\n\n{text.strip()}\n\n{made}"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return str(tabulate(rows, ["", ""], tablefmt="github", disable_numparse=True))
