"""A dataset's page of results: one markdown text from the tables of an evaluation. Pure; the files are the caller's."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from tabulate import tabulate

from assets.config import Protocol
from assets.evaluation.board import Board
from assets.evaluation.pairs import changes_markdown, pairs_markdown, ratio_text
from assets.evaluation.protocol import of_protocol
from assets.evaluation.report import MOST_WINDOWS, REFERENCE, decay_table, lists_table
from assets.evaluation.slices import COVERAGE, HIT_RATE, NDCG, NLL, NO_K, PERPLEXITY, TRAIN_FREQUENCY, Metric
from assets.schema import ALL_WINDOWS, CaseSlice

SLICES = (
    CaseSlice.OVERALL,
    CaseSlice.HEAD,
    CaseSlice.TAIL,
    CaseSlice.COLD,
    CaseSlice.TAIL_AND_COLD,
    CaseSlice.NO_HISTORY,
    CaseSlice.ALL_USERS,
)
SEEN = (CaseSlice.SEEN_0, CaseSlice.SEEN_1_10, CaseSlice.SEEN_MORE)
BASELINES = ("two_tower", "sasrec", "cdn", "dat")
"""The papers' own: what their models are compared with, besides the floor."""
DECAY_SLICES = (CaseSlice.OVERALL, CaseSlice.HEAD, CaseSlice.TAIL, CaseSlice.COLD)


@dataclass(frozen=True)
class Timing:
    """How long the latest making of one model's results took, in seconds of wall-clock time; None: not known."""

    model: str
    training: float | None
    ranking: float | None
    sampling: float | None


@dataclass(frozen=True)
class Origin:
    """Where a page comes from.

    Attributes:
        command: what was typed.
        commit: of the code that rendered it.
        trained_at: commits at which the checkpoints were made.
        seeds: of the nets.
        split: in words.
        facts: (name, value) of the dataset, for the first table.
        timings: per model.
        unit_seconds: what the unit of :attr:`unit` took on the same machine; durations are also told in it.
        unit: in words.
    """

    command: str
    commit: str
    trained_at: Sequence[str]
    seeds: Sequence[int]
    split: str
    facts: Sequence[tuple[str, str]]
    timings: Sequence[Timing]
    unit_seconds: float
    unit: str


@dataclass(frozen=True)
class Results:
    """The tables of one dataset, roster and split.

    Attributes:
        dataset: registered name.
        models: the roster.
        floors: those of it that learn nothing.
        headline: the protocol of leaderboards.
        k: cut-off of the ranking that is shown.
        means: metrics over seeds of full ranking, every protocol.
        leaderboard: of the headline.
        comparisons: what :func:`assets.evaluation.pairs.pair_table` gave.
        relative: per model, windows over the first.
        sampled: boards of both sampled protocols; none where they were not run.
        leave_one_out: the CDN paper's table; None under another split.
        published: our full ranking beside published figures; none where there are none.
    """

    dataset: str
    models: Sequence[str]
    floors: Collection[str]
    headline: Protocol
    k: int
    means: pd.DataFrame
    leaderboard: Board
    comparisons: pd.DataFrame
    relative: Mapping[str, pd.DataFrame]
    sampled: Sequence[Board] = ()
    leave_one_out: Board | None = None
    published: Sequence[Board] = ()


@dataclass(frozen=True)
class Page:
    """What else stands on a page.

    Attributes:
        figures: caption -> file name beside the page.
        others: name -> file name of other pages of the dataset.
    """

    figures: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)


def document(results: Results, origin: Origin, page: Page) -> str:
    """The page. Equal input gives equal text; sections without results are left out."""
    sections = [
        _opening(results, origin, page),
        _section("Headline", results.leaderboard.markdown()),
        _section("Slices", _slices(results)),
        _section("Perplexity", _perplexity(results)),
        _section("Recommended lists", _lists(results)),
        _section("Windows and decay", _decay(results, page)),
        _section("Paired comparisons", _comparisons(results)),
        _section("Other protocols", _protocols(results)),
        _section("Beside published figures", "\n".join(board.markdown() for board in results.published)),
        _section("Leave-one-out", results.leave_one_out.markdown() if results.leave_one_out else ""),
        _section("Sampled negatives", "\n".join(board.markdown() for board in results.sampled)),
        _section("Time", _time(origin)),
    ]
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body.strip() else ""


def _opening(results: Results, origin: Origin, page: Page) -> str:
    others = ", ".join(f"[{name}]({file})" for name, file in page.others.items())
    seeds = f"{len(origin.seeds)} ({', '.join(map(str, origin.seeds))})"
    rows = [
        ("made by", f"`{origin.command}`"),
        ("commit", origin.commit),
        ("weights trained at", ", ".join(origin.trained_at)),
        ("models", ", ".join(results.models)),
        ("seeds of the nets", seeds),
        ("split", origin.split),
        *origin.facts,
        *([("other pages", others)] if others else []),
    ]
    return f"# {results.dataset}: results\n\n{_table(rows, ['', ''])}"


def _slices(results: Results) -> str:
    means = _headline(results)
    tables = [_metric_table(results, means, (metric, results.k), SLICES) for metric in (HIT_RATE, NDCG)]
    tables.append(_metric_table(results, means, (HIT_RATE, results.k), SEEN))
    note = "Every window. `seen_*`: by engagements with the item at request time, whatever there were in training."
    return "\n\n".join([*(table for table in tables if table), note])


def _perplexity(results: Results) -> str:
    means = _headline(results)
    table = _metric_table(results, means, (PERPLEXITY, NO_K), SLICES, digits=1)
    if not table:
        return ""
    lines = [table]
    if REFERENCE in results.models:
        against = _ratios(results, REFERENCE, (NLL, NO_K), "model")
        lines += [f"Over that of {REFERENCE}, the trend alone (paired, below 1 is better):", against] if against else []
    lines.append(
        "exp of the mean negative log likelihood of the target under the softmax of the scores over the whole catalog, "
        "cases whose item is on it."
    )
    return "\n\n".join(lines)


def _ratios(results: Results, reference: str, metric: Metric, label: str) -> str:
    """Ratios of every model to ``reference``, all windows together, per slice."""
    name, k = metric
    chosen = results.comparisons
    chosen = chosen[
        (chosen["reference"] == reference)
        & (chosen["window"] == ALL_WINDOWS)
        & (chosen["metric"] == name)
        & (chosen["k"] == k)
    ]
    cells = {(row["model"], row["slice"]): ratio_text(row) for row in chosen.to_dict("records")}
    return _grid([model for model in results.models if model != reference], SLICES, cells, label)


def _lists(results: Results) -> str:
    means = _headline(results)
    return lists_table(means) if means["metric"].isin([COVERAGE, TRAIN_FREQUENCY]).any() else ""


def _decay(results: Results, page: Page) -> str:
    figures = [f"![{caption}]({file})" for caption, file in page.figures.items()]
    means, relative = _headline(results), {model: results.relative[model] for model in results.models}
    windows = means.loc[means["window"] != ALL_WINDOWS, "window"].nunique()
    if windows < 2:
        return ""
    tables = [
        decay_table(means, relative, metric, results.k, name)
        for metric in (HIT_RATE, NDCG)
        for name in DECAY_SLICES
        if ((means["slice"] == name.value) & (means["window"] != ALL_WINDOWS)).any()
    ]
    note = "In parentheses: the window over the first, with its 95 % interval over users; none where the first is 0."
    if windows > MOST_WINDOWS:
        note += f" {MOST_WINDOWS} of {windows} windows, evenly spread; the figures show all."
    return "\n\n".join([*figures, *tables, note])


def _comparisons(results: Results) -> str:
    references = [model for model in (REFERENCE, *BASELINES) if model in results.models and len(results.models) > 1]
    if not references:
        return ""
    note = (
        "Differences on the same cases, 95 % intervals over users drawn again: one that leaves out 0 is a difference. "
        "nll: lower is better. A change is the difference in the last window minus that in the first."
    )
    return "\n\n".join([note, *(_against(results, reference) for reference in references)])


def _against(results: Results, reference: str) -> str:
    """Every other model against one: differences, hit rates over its, and how differences changed over the windows."""
    table = results.comparisons
    table = table[table["model"].isin(list(results.models)) & (table["reference"] == reference)]
    lines = [f"### Against {reference}"]
    for metric in ((HIT_RATE, results.k), (NDCG, results.k), (NLL, NO_K)):
        if ((table["metric"] == metric[0]) & (table["k"] == metric[1])).any():
            lines.append(pairs_markdown(table, reference, metric))
            if len(set(table["window"]) - {ALL_WINDOWS}) > 1:
                lines.append(changes_markdown(table, reference, metric))
    hits = (HIT_RATE, results.k)
    ratios = _ratios(results, reference, hits, f"HR@{results.k} over that of {reference}, every window")
    return "\n\n".join(line for line in [*lines, ratios] if line)


def _protocols(results: Results) -> str:
    """HR@k and perplexity overall and of all users under every protocol but the headline."""
    means, headline = results.means, results.headline
    runs = means[["user_history", "item_embeddings"]].drop_duplicates().itertuples(index=False, name=None)
    tables = []
    for users, items in runs:
        if (users, items) == (headline.user_history.value, headline.item_embeddings.value):
            continue
        chosen = means[(means["user_history"] == users) & (means["item_embeddings"] == items)]
        shown = _metric_table(results, chosen, (HIT_RATE, results.k), SLICES)
        tables += [f"### {users} user history, {items} items", shown]
    return "\n\n".join(tables)


def _time(origin: Origin) -> str:
    if not any(each for timing in origin.timings for each in (timing.training, timing.ranking, timing.sampling)):
        return ""
    rows = [
        [timing.model, *(_seconds(each, origin) for each in (timing.training, timing.ranking, timing.sampling))]
        for timing in origin.timings
    ]
    note = (
        f"Wall-clock seconds of the latest making, every seed; in parentheses the same in units of {origin.unit} "
        f"({1000 * origin.unit_seconds:.1f} ms when this page was made), which depends less on the machine."
    )
    return f"{_table(rows, ['model', 'training', 'full ranking', 'sampled ranking'])}\n\n{note}"


def _seconds(seconds: float | None, origin: Origin) -> str:
    return "" if seconds is None else f"{seconds:.1f} ({seconds / origin.unit_seconds:,.0f})"


def _headline(results: Results) -> pd.DataFrame:
    return of_protocol(results.means, results.headline)


def _metric_table(
    results: Results, means: pd.DataFrame, metric: Metric, slices: Sequence[CaseSlice], digits: int = 3
) -> str:
    """A row per model, a column per slice, all windows together: value, ± over seeds, 95 % interval; cases below."""
    name, k = metric
    chosen = means[(means["window"] == ALL_WINDOWS) & (means["metric"] == name) & (means["k"] == k)]
    cells, counts = {}, {}
    for row in chosen.to_dict("records"):
        error = row["standard_error"]
        spread = "" if math.isnan(error) else f" ± {error:.{digits}f}"
        interval = f"[{row['ci_low']:.{digits}f}, {row['ci_high']:.{digits}f}]"
        cells[row["model"], row["slice"]] = f"{row['value']:.{digits}f}{spread} {interval}"
        counts["cases", row["slice"]] = f"{row['n']:,}"
    label = f"{name.upper()}@{k}" if k else name
    return _grid([*results.models, "cases"], slices, {**cells, **counts}, label)


def _grid(names: Sequence[str], slices: Sequence[CaseSlice], cells: Mapping[tuple[str, str], str], label: str) -> str:
    """Markdown with a row per name and a column per slice that holds anything; empty where none does."""
    shown = [each.value for each in slices if any((name, each.value) in cells for name in names)]
    if not shown:
        return ""
    return _table([[name, *(cells.get((name, each), "") for each in shown)] for name in names], [label, *shown])


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return str(tabulate(rows, list(headers), tablefmt="github", disable_numparse=True))
