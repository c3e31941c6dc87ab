"""The run's settings as the dbt project's vars."""

from typing import TypedDict

from assets.config import Settings


class DbtVars(TypedDict):
    """Every var of ``transforms/dbt_project.yml``."""

    minimum_value: float | None
    event_types: list[str]
    k_core: int
    k_core_counts: str
    k_core_passes: int | None
    split_kind: str
    quantile: float
    held_out_by: str
    held_out_share: float
    held_out_seed: int
    frame: str
    windows: int | None
    cut_by: str
    validation_fraction: float
    head_rule: str
    head_share: float
    tail_max_count: int
    qualified_user_min: int
    history_length: int


def dbt_vars(settings: Settings) -> DbtVars:
    """What ``dbt --vars`` gets, ready for JSON."""
    split = settings.split
    return DbtVars(
        minimum_value=settings.engagement.minimum_value,
        event_types=list(settings.engagement.event_types),
        k_core=settings.engagement.k_core,
        k_core_counts=settings.engagement.k_core_counts,
        k_core_passes=settings.engagement.k_core_passes,
        split_kind=split.kind,
        quantile=split.cutoff_quantile,
        held_out_by=split.held_out_by,
        held_out_share=split.share_held_out,
        held_out_seed=split.held_out_seed,
        frame=split.frame,
        windows=split.test_windows,
        cut_by=split.test_cut,
        validation_fraction=split.validation_fraction,
        head_rule=split.head_rule,
        head_share=split.head_share,
        tail_max_count=split.tail_max_count,
        qualified_user_min=split.qualified_user_min,
        history_length=split.history_length,
    )
