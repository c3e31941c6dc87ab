"""The settings under which published experiments compare with ours: ``thaw report --like``. Pure.

A :class:`Like` is a paper's split, filters and methods, as far as the paper states them, with what it leaves open said.
Its results lie in a home of their own, ``data/<dataset>/like/<name>/``, over the same raw tables, and on a page of
their own, ``docs/results/<dataset>-like-<name>.md``; the dataset's own page and tables are left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assets.config import RANDOM_LEAVE_ONE_OUT, TIMELESS, EngagementRule, Settings, SplitConfig

FLOORS: Final = ("popularity", "recent_popularity", "decayed_popularity")
SASREC_CORE: Final = {"k_core": 5, "k_core_counts": "all_looking_ahead", "k_core_passes": 1}
"""SASRec's preprocessing, which later papers take over: one pass, and the test period counts."""

NONE: Final = "none"
"""On the command line: no paper's conditions, the configured ones only."""


@dataclass(frozen=True)
class Like:
    """A paper's conditions.

    Attributes:
        name: on the command line, of the folder and of the page.
        paper: which one, and its tables.
        split: fields of :class:`assets.config.SplitConfig`.
        engagement: fields of :class:`assets.config.EngagementRule`.
        models: what its tables compare, with our floors; the roster of the settings replaces it.
        datasets: registered names that it published figures of -> fields of the split that differ there.
        studies: dataset -> names of studies whose tables are the paper's too, made under the configured split.
        sizes: dataset -> how large the paper says that it is.
        open_points: what the paper does not say or what differs, in sentences for the page.
    """

    name: str
    paper: str
    split: Mapping[str, Any]
    engagement: Mapping[str, Any]
    models: Sequence[str]
    datasets: Mapping[str, Mapping[str, Any]]
    open_points: str
    sizes: Mapping[str, str] = field(default_factory=dict)
    studies: Mapping[str, Sequence[str]] = field(default_factory=dict)


LIKES: Final[Sequence[Like]] = (
    Like(
        name="ihm",
        paper="Zuo et al., KDD 2024 (IHM), Tables 1 and 2",
        split={"kind": "median_time", "windows": 5},
        engagement=SASREC_CORE,
        models=(*FLOORS, "sasrec", "cdn", "dat", "ihm_sasrec", "ihm_cdn", "ihm_dat"),
        datasets={"ml-1m": {}, "amazon-games": {}, "amazon-beauty": {}, "amazon-books": {}},
        open_points="The paper filters as SASRec does (users and items with 5 engagements, test time counted) and does "
        "not say whether its five windows are equal in time or in engagements: here in time. Its negatives are not "
        "described; sampled_legacy draws them as the public code of its first author does.",
    ),
    Like(
        name="cdn",
        paper="Zhang et al., KDD 2023 (CDN), Tables 2 to 5",
        split={"kind": "leave_one_out", "head_rule": "pareto"},
        engagement={},
        models=(
            *FLOORS,
            "two_tower",
            "two_tower_class_balance",
            "two_tower_logq_rebalance",
            "two_tower_ndp",
            "two_tower_bbn",
            "cdn",
            "bdn",
            "udn",
            "idn",
            "cdn_unbalanced_balanced",
            "cdn_head_tail",
        ),
        datasets={"ml-1m": {"head_share": 0.2}, "book-crossing": {"held_out_by": "random", "head_share": 0.001}},
        sizes={
            "ml-1m": "1,000,209 engagements, 6,040 users, 3,706 items",
            "book-crossing": "1,031,175 engagements, 50,454 users, 222,154 items",
        },
        open_points="The paper leaves out pairs with invalid or missing features; here they stay. Of BookCrossing it "
        "says that explicit ratings are the positives, but its Table 7 counts 1,031,175 of the source's 1,149,780 "
        "rows, which is possible only with the zeros: here every row is an engagement. Its figures are means of 5 "
        "trials: SEEDS=5.",
    ),
    Like(
        name="time-to-split",
        paper="public repository time-to-split",
        split={"kind": "quantile", "quantile": 0.9},
        engagement=SASREC_CORE,
        models=(*FLOORS, "sasrec", "ihm_sasrec"),
        datasets={"ml-1m": {}, "amazon-beauty": {}, "amazon-sports": {}},
        open_points="Successive evaluation there ranks every item that is in training; here every item of the moment's "
        "catalog. Its 5-core is taken here as SASRec takes it.",
    ),
    Like(
        name="hrnn",
        paper="Ma et al., KDD 2020 (HRNN-meta), Tables 1 and 8",
        split={"kind": "held_out_users", "held_out_share": 0.2},
        engagement={},
        models=("popularity", "decayed_popularity", "gru", "hrnn", "hrnn_meta"),
        datasets={"ml-1m": {}, "ml-10m": {}, "ml-20m": {}},
        sizes={"ml-20m": "20 million engagements, 138,493 users, an index space of 131,263 items"},
        studies={
            "ml-20m": ("feature_groups", "ratings", "time_sensitivity"),
            "ml-1m": ("cold_items",),
        },
        open_points="A perplexity depends on the size of the catalog: the paper's of ml-20m is an index space of "
        "131,263 ids, ours are the items that exist. Its Tables 1 (by group of features), 2, 4 and 7 are studies, on "
        "`<dataset>-hrnn.md`.",
    ),
)


def chosen(asked: str | None, dataset: str) -> list[Like]:
    """What a comma-separated list of names asks for; without one, the papers that have figures of the dataset.

    Raises:
        ValueError: for a name that nothing has, naming the known ones; for a list of nothing.
    """
    if asked is None:
        return [like for like in LIKES if dataset in like.datasets]
    names = [name.strip() for name in asked.split(",") if name.strip()]
    if names == [NONE]:
        return []
    known = [like.name for like in LIKES]
    if not names or (unknown := [name for name in names if name not in known]):
        wrong = repr(unknown[0]) if names else "nothing"
        raise ValueError(f"--like names {wrong}; known: {', '.join(known)}, or {NONE}")
    return [like for like in LIKES if like.name in names]


def settings_for(like: Like, settings: Settings) -> Settings:
    """The settings of a paper's conditions, and the home where its tables and results lie.

    What the configured split says of histories, and the engagement rule's value and event types, hold here too; a
    roster of the settings replaces the paper's methods.

    Raises:
        ValueError: when the paper's split asks for times that the dataset has not.
    """
    wanted = {**like.split, **like.datasets.get(settings.dataset, {})}
    if settings.dataset in TIMELESS:
        if wanted["kind"] != RANDOM_LEAVE_ONE_OUT["kind"]:
            raise ValueError(f"--like {like.name} splits by {wanted['kind']}, and {settings.dataset} has no times")
        wanted.update(RANDOM_LEAVE_ONE_OUT)
    kept = {name: getattr(settings.split, name) for name in ("qualified_user_min", "history_length")}
    rule = settings.engagement
    engagement = {"minimum_value": rule.minimum_value, "event_types": rule.event_types, **like.engagement}
    return settings.model_copy(
        update={
            "split": SplitConfig(**{**kept, **wanted}),
            "engagement": EngagementRule(**engagement),
            "models": settings.models or tuple(like.models),
            "home": settings.storage.base / "like" / like.name,
        }
    )


def words(like: Like, settings: Settings) -> list[tuple[str, str]]:
    """(words, value) of a paper's conditions, for the first table of its page."""
    held = settings.dataset in like.datasets
    return [
        ("conditions of", like.paper if held else f"{like.paper}, which has no figures of {settings.dataset}"),
        *([("the paper's data", size)] if (size := like.sizes.get(settings.dataset)) else []),
        ("left open or different", like.open_points),
        *engagement_words(settings.engagement),
    ]


def engagement_words(rule: EngagementRule) -> list[tuple[str, str]]:
    """Which rows count as engagements; nothing where all do. The words of the split tell of a k-core."""
    parts = []
    if rule.minimum_value is not None:
        parts.append(f"values of at least {rule.minimum_value:g}")
    if rule.event_types:
        parts.append(f"event types {', '.join(rule.event_types)}")
    return [("engagements kept", "; ".join(parts))] if parts else []
