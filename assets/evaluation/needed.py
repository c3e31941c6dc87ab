"""What has to be made before a dataset's results can be reported: whatever is missing, or rests on something else."""

from collections.abc import Callable
from dataclasses import dataclass

from assets import keys
from assets.config import Settings
from assets.evaluation.files import (
    StaleResultsError,
    comparisons_path,
    decay_table_path,
    read_info,
    read_results,
    read_seed_means,
)
from assets.evaluation.run import basis
from assets.evaluation.sampled.run import leave_one_out_path, read_sampled, read_sampled_means
from assets.storage import Storage
from assets.training.checkpoints import CheckpointError, read_manifest
from assets.training.presets import preset
from assets.training.registry import roster
from assets.training.seeds import seeds_of
from assets.transforms.export import TablesError, verify_tables
from assets.transforms.stamp import raw_version
from assets.transforms.variables import dbt_vars


@dataclass(frozen=True)
class Needed:
    """What to materialize.

    Attributes:
        tables: everything up to the exported tables, because they are missing or were made with other settings.
        assets: keys of training and evaluation.
    """

    tables: bool
    assets: list[keys.Key]

    @property
    def selection(self) -> str | None:
        """In Dagster's selection syntax; None where nothing is missing."""
        parts = ['+key:"{}"'.format("/".join(keys.TABLES))] if self.tables else []
        parts += ['key:"{}"'.format("/".join(key)) for key in self.assets]
        return " or ".join(parts) or None


def needed(storage: Storage, settings: Settings) -> Needed:
    """What is missing for a report on the roster, under the settings as they are.

    The sampled protocols need a cutoff in time; the leave-one-out table needs its split.
    """
    models, by_time = roster(settings), settings.split.cuts_in_time
    version = current_tables(storage, settings)
    untrained = {model for model in models if version is None or not _is_trained(storage, settings, model, version)}
    unranked = {model for model in models if model in untrained or not _is_ranked(storage, settings, model)}
    unsampled = {
        model for model in models if by_time and (model in untrained or not _is_sampled(storage, settings, model))
    }
    wanted = [keys.checkpoint(model) for model in models if model in untrained]
    wanted += [keys.ranks(model) for model in models if model in unranked]
    wanted += [keys.sampled(model) for model in models if model in unsampled]
    if unranked or not _is_measured(storage, settings):
        wanted += [keys.METRICS, keys.LEADERBOARD, keys.DECAY, keys.COMPARISONS]
    if by_time and (unsampled or not _holds(lambda: read_sampled_means(storage, settings))):
        wanted += [keys.SAMPLED_METRICS, keys.SAMPLED_TABLES]
    if _wants_leave_one_out(storage, settings, wanted):
        wanted.append(keys.LEAVE_ONE_OUT)
    return Needed(version is None, wanted)


def _wants_leave_one_out(storage: Storage, settings: Settings, wanted: list[keys.Key]) -> bool:
    """Whether the split has that table and it is missing, or will rest on new metrics."""
    held = settings.split.kind == "leave_one_out"
    return held and (keys.METRICS in wanted or not leave_one_out_path(storage).exists())


def current_tables(storage: Storage, settings: Settings) -> str | None:
    """Version of the exported tables; None where they are missing, damaged, or not of the raw tables and settings."""
    try:
        manifest = verify_tables(storage)
        current = manifest["vars"] == dbt_vars(settings) and manifest["data_version"] == raw_version(storage)
    except (TablesError, FileNotFoundError):
        return None
    return manifest["version"] if current else None


def _is_trained(storage: Storage, settings: Settings, model: str, version: str) -> bool:
    """Every seed has a checkpoint of the tables of this version, with the current hyper-parameters."""
    wanted = preset(model, settings.training, settings.dataset).model_dump(mode="json")
    for seed in seeds_of(model, settings):
        try:
            manifest = read_manifest(storage, model, seed)
        except CheckpointError:
            return False
        same = all(manifest["config"].get(name) == value for name, value in wanted.items())
        smoothing = manifest["config"].get("smoothing", settings.evaluation.smoothing)
        if not same or smoothing != settings.evaluation.smoothing or manifest["data_version"] != version:
            return False
    return True


def _is_ranked(storage: Storage, settings: Settings, model: str) -> bool:
    try:
        return read_info(storage, model).basis == basis(storage, settings, model)
    except (FileNotFoundError, StaleResultsError, CheckpointError, TablesError):
        return False


def _is_sampled(storage: Storage, settings: Settings, model: str) -> bool:
    return _holds(lambda: read_sampled(storage, settings, model))


def _is_measured(storage: Storage, settings: Settings) -> bool:
    infos = [read_info(storage, model) for model in roster(settings)]
    return (
        _holds(lambda: read_seed_means(storage, infos))
        and _holds(lambda: read_results(decay_table_path(storage), infos, "decay"))
        and _holds(lambda: read_results(comparisons_path(storage), infos, "comparisons"))
    )


def _holds(read: Callable[[], object]) -> bool:
    """Whether reading finds current results."""
    try:
        read()
    except (FileNotFoundError, StaleResultsError):
        return False
    return True
