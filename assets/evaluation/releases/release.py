"""``thaw release``: a checkpoint of this home as a folder with its record."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from assets.config import Settings
from assets.evaluation.files import RanksInfo, read_info, read_results
from assets.evaluation.protocol import of_protocol
from assets.evaluation.releases.measure import Progress, headline_of, measure, this_program
from assets.evaluation.releases.record import (
    CHECKPOINT,
    RECORD,
    Conditions,
    DataRecord,
    Headline,
    Release,
    ReleaseError,
    file_records,
    first_fault,
)
from assets.evaluation.run import headline_k
from assets.storage import Storage, write_json
from assets.training.checkpoints import checkpoint_digest, read_manifest
from assets.transforms.export import verify_tables


def trained_release(settings: Settings, model: str) -> Release:
    """The record that the checkpoint of ``model`` and the configured seed has in this home, as evaluation left it.

    Its headline is that of ``evaluation/metrics``; nothing is ranked.

    Raises:
        CheckpointError: when there is no checkpoint.
        FileNotFoundError: when it was not ranked or measured.
        StaleResultsError: when ranks or metrics are of other checkpoints.
        ReleaseError: when the ranks are of another checkpoint or other tables than there are now, or were made with
            settings that no record may hold.
        TablesError: when the tables are not one export.
    """
    storage, seed = settings.storage, settings.training.seed
    manifest = read_manifest(storage, model, seed)
    tables = verify_tables(storage)
    info = read_info(storage, model)
    again = f"materialize evaluation/{model}_ranks and evaluation/metrics again (`thaw run`)"
    digest = checkpoint_digest(manifest)
    if dict(zip(info.basis.seeds, info.basis.checkpoints, strict=True)).get(seed) != digest:
        raise ReleaseError(f"the ranks of {model} are of another checkpoint than seed {seed} has now: {again}")
    if not tables["version"] == info.basis.tables == manifest["data_version"]:
        raise ReleaseError(f"{model} was trained or ranked on other tables than there are now: {again}")
    conditions = _conditions(settings, info)
    return Release(
        model=model,
        seed=seed,
        checkpoint=digest,
        files=file_records(storage.checkpoint(model, seed)),
        data=DataRecord(
            dataset=storage.dataset,
            tables=tables["version"],
            raw=tables["data_version"],
            split=dict(tables["vars"]),
            files={name: record["sha256"] for name, record in tables["tables"].items()},
        ),
        conditions=conditions,
        headline=_measured(storage, info, conditions, seed),
        program=this_program(),
        released_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_release(settings: Settings, model: str, out: Path, progress: Progress = lambda *_: None) -> Release:
    """Write the release of ``model`` to the folder ``out``; a killed one leaves at most ``<out>.partial``.

    The headline is ranked anew before anything is written: what cannot be verified here is not released.

    Raises:
        ReleaseError: when ``out`` holds something or is no place for a folder to be renamed to, or the headline is not
            the one that evaluation measured.
        Exception: as :func:`trained_release`.
    """
    place = _place(out)
    storage = settings.storage
    release = trained_release(settings, model)
    source = storage.checkpoint(model, release.seed)
    found = measure(storage, source, release.conditions, progress)
    if found != release.headline:
        raise ReleaseError(
            f"{model} now has {shown(release.conditions, found)} where evaluation/metrics says"
            f" {shown(release.conditions, release.headline)}: `thaw run` with the present settings, on this machine"
        )
    _copy(source, place, release)
    return release


def _place(out: Path) -> Path:
    """Where ``out`` lies, links followed: a folder that is not, or an empty one that a rename can replace.

    Raises:
        ReleaseError: for any other.
    """
    try:
        place = out.resolve()
    except RuntimeError as error:  # a link to itself, before Python 3.13
        raise ReleaseError(f"{out} leads nowhere ({error}): name another folder") from error
    if not place.exists():
        return place
    if not place.is_dir() or any(place.iterdir()):
        raise ReleaseError(f"{place} is there already: name a folder that is not")
    if place.samefile(Path.cwd()):  # whoever stands in it would be left in a folder that is no more
        raise ReleaseError(f"{place} is the current directory, which cannot be replaced: name a folder in it")
    if place.is_mount():
        raise ReleaseError(f"{place} is a mount point, which cannot be replaced: name a folder in it")
    return place


def _copy(source: Path, out: Path, release: Release) -> None:
    aside = out.with_name(f"{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / CHECKPOINT).mkdir(parents=True)
    for name in release.files:
        shutil.copyfile(source / name, aside / CHECKPOINT / name)
    if file_records(aside / CHECKPOINT) != release.files:
        shutil.rmtree(aside)
        raise ReleaseError(f"{source} changed while it was copied: release it again")
    write_json(aside / RECORD, release.model_dump(mode="json"))
    aside.replace(out)


def shown(conditions: Conditions, headline: Headline) -> str:
    """A headline in words."""
    return (
        f"ndcg@{conditions.k} {headline.value:.6f} [{headline.ci_low:.6f}, {headline.ci_high:.6f}]"
        f" over {headline.cases:,} cases"
    )


def _conditions(settings: Settings, info: RanksInfo) -> Conditions:
    """What the ranks say of themselves, and of the settings what metrics are computed with."""
    config = settings.evaluation
    history, embeddings = info.basis.protocols[0].split("/")
    try:
        return Conditions(
            protocol={"user_history": history, "item_embeddings": embeddings},
            k=headline_k(settings),
            max_cases=info.basis.max_cases,
            fallback=json.dumps(json.loads(info.basis.fallback), sort_keys=True),
            samples=config.bootstrap_samples,
            seed=settings.training.seed,
        )
    except ValidationError as error:
        raise ReleaseError(f"no record may hold these settings of evaluation ({first_fault(error)})") from error


def _measured(storage: Storage, info: RanksInfo, conditions: Conditions, seed: int) -> Headline:
    metrics = read_results(storage.metrics, [info], "metrics")
    return headline_of(of_protocol(metrics[metrics["seed"] == seed], conditions.protocol), conditions.k)
