"""What studies that compare variants of nets have in common."""

from collections.abc import Callable, Sequence

import pandas as pd

from assets.config import Settings
from assets.evaluation.studies.files import write_study
from assets.evaluation.studies.measures import run_table
from assets.evaluation.studies.variants import Run, Variant, run_variants
from assets.storage import Storage


def make_variants(
    storage: Storage,
    settings: Settings,
    name: str,
    variants: Sequence[Variant],
    markdown: Callable[[Sequence[Run], Settings], str],
    progress: Callable[[str], object],
) -> pd.DataFrame:
    """Run what is missing, write the study's files, and return its table: a row per variant and seed.

    Args:
        name: of the study.
        markdown: its section.
    """
    runs = run_variants(storage, variants, settings, progress)
    table = run_table(runs, settings)
    config = {"variants": {each.name: each.preset(settings).model_dump(mode="json") for each in variants}}
    write_study(storage, settings, name, table, markdown(runs, settings), config=config)
    return table
