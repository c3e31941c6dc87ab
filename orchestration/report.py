"""``thaw report``: run what is missing for a dataset's page of results, then render the page and its figures."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import dagster as dg
import pandas as pd
import torch
from rich.console import Console

from assets import keys
from assets.config import PROJECT_ROOT, EngagementRule, Settings, SplitConfig
from assets.evaluation.board import Board
from assets.evaluation.document import Origin, Page, Results, Timing, document
from assets.evaluation.files import comparisons_path, decay_table_path, read_info, read_results, read_seed_means
from assets.evaluation.likes import LIKES, Like, engagement_words, words
from assets.evaluation.needed import needed
from assets.evaluation.paper_tables import FIRST_WINDOW, head_words, published_full, sampled_boards
from assets.evaluation.protocol import of_protocol
from assets.evaluation.published_rows import FULL, HELD_OUT_USERS, QUANTILE
from assets.evaluation.run import build_leaderboard, floors, headline_k
from assets.evaluation.sampled.run import build_leave_one_out, read_sampled_means
from assets.evaluation.slices import HIT_RATE, NDCG, Metric
from assets.schema import ALL_WINDOWS
from assets.storage import Storage, write_bytes, write_text
from assets.training.checkpoints import git_revision, read_manifest
from assets.training.registry import roster
from assets.training.seeds import seeds_of
from assets.transforms.filter_notes import core_words
from dashboards.decay import decay_png
from orchestration.home import open_instance
from orchestration.runner import Outcome, run_graph

RESULTS = PROJECT_ROOT / "docs" / "results"
"""Where pages of results lie."""

DEFAULT_SPLIT = "median_time"
"""The split whose page has the dataset's name alone; another's has the kind behind it."""

COMMIT_SHOWN = 12
UNIT = "a product of two 1,024 x 1,024 float32 matrices"
UNIT_SIZE, UNIT_TRIES = 1024, 7

FACTS = (
    ("interactions", "engagements", ","),
    ("users", "users", ","),
    ("items", "items", ","),
    ("test_engagements", "test engagements", ","),
    ("test_share_head", "of them on head items", "%"),
    ("test_share_tail", "of them on tail items", "%"),
    ("test_share_cold", "of them on cold items", "%"),
    ("test_share_off_catalog", "of them on items that joined after the refresh", "%"),
    ("test_share_user_in_train", "of them by users seen in training", "%"),
)
"""(name in the dataset's profile, words, how it is written)."""


def make_missing(settings: Settings, console: Console) -> Outcome | None:
    """Materialize what the page needs and is not there; None where nothing was missing."""
    selection = needed(settings.storage, settings).selection
    return run_graph(settings, selection, console) if selection else None


def write_report(settings: Settings, command: str, folder: Path, like: Like | None = None) -> Path:
    """Render the page from the files of the last runs; figures beside it.

    Args:
        command: what was asked for, as typed.
        folder: of the pages.
        like: the paper whose conditions ``settings`` are; None for the configured ones.

    Raises:
        FileNotFoundError: when a result is missing; :func:`make_missing` makes it.
        StaleResultsError: when a result rests on something else than what holds now.
    """
    storage = settings.storage
    results = gather(settings)
    stem = like_stem(storage.dataset, like) if like else page_stem(storage.dataset, settings.split.kind)
    figures = _draw(results, settings, folder, stem)
    others = {
        name: f"{name}.md" for name in _stems(storage.dataset) if name != stem and (folder / f"{name}.md").exists()
    }
    conditions = words(like, settings) if like else engagement_words(settings.engagement)
    text = document(results, _origin(settings, command, conditions), Page(figures, others))
    return write_text(folder / f"{stem}.md", text)


def page_stem(dataset: str, kind: str) -> str:
    """File name of a page without its suffix: the dataset, and the split's kind where it is not the usual one."""
    return dataset if kind == DEFAULT_SPLIT else f"{dataset}-{kind.replace('_', '-')}"


def like_stem(dataset: str, like: Like) -> str:
    """File name, without its suffix, of a page under a paper's conditions."""
    return f"{dataset}-like-{like.name}"


def _stems(dataset: str) -> list[str]:
    """Of every page that a dataset may have."""
    kinds = get_args(SplitConfig.model_fields["kind"].annotation)
    studies = f"{dataset}-hrnn"
    return [*(page_stem(dataset, kind) for kind in kinds), *(like_stem(dataset, like) for like in LIKES), studies]


def gather(settings: Settings) -> Results:
    """The roster's results, read from files; the leaderboard is put together from them."""
    storage, models, config = settings.storage, roster(settings), settings.evaluation
    infos = [read_info(storage, model) for model in models]
    means = read_seed_means(storage, infos)
    points = read_results(decay_table_path(storage), infos, "decay").rename(columns={"value": "ratio"})
    return Results(
        dataset=storage.dataset,
        models=models,
        floors=floors(settings),
        headline=config.headline,
        k=headline_k(settings),
        means=means,
        leaderboard=build_leaderboard(storage, settings),
        comparisons=read_results(comparisons_path(storage), infos, "comparisons"),
        relative={model: points[points["model"] == model] for model in models},
        sampled=sampled_boards(
            read_sampled_means(storage, settings), settings.sampled, config.min_cases, settings.split.kind
        )
        if settings.split.cuts_in_time
        else (),
        leave_one_out=build_leave_one_out(storage, settings) if settings.split.kind == "leave_one_out" else None,
        published=_published(means, settings),
    )


def _published(means: pd.DataFrame, settings: Settings) -> list[Board]:
    places = {
        DEFAULT_SPLIT: (FULL, FIRST_WINDOW),
        QUANTILE: (QUANTILE, ALL_WINDOWS),
        HELD_OUT_USERS: (HELD_OUT_USERS, ALL_WINDOWS),
    }
    if settings.split.kind not in places:
        return []
    protocol, window = places[settings.split.kind]
    board = published_full(means, settings.evaluation.headline, protocol, window)
    return [board] if board else []


def _draw(results: Results, settings: Settings, folder: Path, stem: str) -> dict[str, str]:
    """Write the figures; caption -> file name. None where there is one window only."""
    means = of_protocol(results.means, results.headline)
    if means.loc[means["window"] != ALL_WINDOWS, "window"].nunique() < 2:
        return {}
    shown: list[Metric] = [(HIT_RATE, results.k), (NDCG, results.k)]
    ratios = [frame.rename(columns={"ratio": "value"}) for frame in results.relative.values()]
    drawn = {
        "by window, per slice": ("decay", means, None),
        "each window over the first, per slice": ("decay-relative", pd.concat(ratios, ignore_index=True), means),
    }
    files = {}
    for caption, (name, points, ratios_of) in drawn.items():
        title = f"{results.dataset}: {caption}"
        png = decay_png(points, results.models, results.floors, shown, settings.evaluation.min_cases, title, ratios_of)
        files[title] = write_bytes(folder / f"{stem}-{name}.png", png).name
    return files


def _origin(settings: Settings, command: str, conditions: Sequence[tuple[str, str]]) -> Origin:
    storage, models = settings.storage, roster(settings)
    manifests = [read_manifest(storage, model, seed) for model in models for seed in seeds_of(model, settings)]
    first = settings.training.seed
    return Origin(
        command=command,
        commit=commit(),
        trained_at=sorted({manifest["git_revision"][:COMMIT_SHOWN] for manifest in manifests}),
        seeds=range(first, first + settings.training.seeds),
        split=split_words(settings.split) + filter_words(settings.engagement),
        facts=[*conditions, *facts(storage)],
        timings=_timings(settings, models),
        unit_seconds=_unit_seconds(),
        unit=UNIT,
    )


def split_words(split: SplitConfig) -> str:
    """The split in words."""
    windows = f"{split.windows} test windows by {split.cut_by}"
    last = "latest" if split.held_out_by == "time" else "two random"
    words = {
        "median_time": f"everything before the median of time trains; {windows}",
        "quantile": f"everything before the {split.quantile} quantile of time trains; {windows}",
        "fraction": f"the first {split.fraction:.0%} of the engagements train; test windows of one {split.frame} each",
        "leave_one_out": f"leave-one-out: of every user's {last} engagements one tests and one validates",
        "held_out_items": f"held-out items: {split.share_held_out:.0%} of all items, drawn uniformly with seed "
        f"{split.held_out_seed}, are tested after training on the others",
        "held_out_users": f"held-out users: {split.share_held_out:.0%} of all users, drawn uniformly with seed "
        f"{split.held_out_seed}, are tested after training on the others, whose later engagements are earlier in the"
        " source: no evidence about serving",
    }
    return f"{words[split.kind]}; head: {head_words(split)}"


def filter_words(rule: EngagementRule) -> str:
    """What follows the words of the split where the tables were filtered to a k-core; else nothing."""
    return f"; kept are {core_words(rule)}" if rule.k_core else ""


def facts(storage: Storage) -> list[tuple[str, str]]:
    """(words, value) of what a page says of a dataset, from its exported profile."""
    profile = storage.read_table("dataset_profile").set_index("name")["value"].to_dict()
    return [
        (words, f"{profile[name]:.1%}" if written == "%" else f"{profile[name]:,.0f}")
        for name, words, written in FACTS
        if name in profile
    ]


def commit() -> str:
    """The commit, and whether the code was changed since."""
    command = ["git", "-C", str(PROJECT_ROOT), "status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.sql"]
    try:
        changed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        changed = ""
    return git_revision()[:COMMIT_SHOWN] + (", with changes" if changed else "")


def _timings(settings: Settings, models: Sequence[str]) -> list[Timing]:
    with open_instance(settings) as instance:
        return [
            Timing(model, *(_seconds(instance, make(model)) for make in (keys.checkpoint, keys.ranks, keys.sampled)))
            for model in models
        ]


def _seconds(instance: dg.DagsterInstance, key: keys.Key) -> float | None:
    """What the latest materialization says it took."""
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    if event is None or event.asset_materialization is None:
        return None
    seconds = event.asset_materialization.metadata.get("seconds")
    if not isinstance(seconds, dg.FloatMetadataValue | dg.IntMetadataValue) or seconds.value is None:
        return None
    return float(seconds.value)


def _unit_seconds() -> float:
    """The median time of :data:`UNIT` on this machine now."""
    left = torch.rand(UNIT_SIZE, UNIT_SIZE)
    times = []
    for _ in range(UNIT_TRIES):
        started = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - started)
    return sorted(times)[UNIT_TRIES // 2]
