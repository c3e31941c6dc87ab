"""``thaw verify``: a release, or a checkpoint of this home, held against its record.

Checks go from the cheap to the dear: digests of its files, what the manifest says, the tables at hand, and, where these
are the ones it was judged on, the headline, ranked anew. All that differs is told, not only the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from assets.evaluation.files import DIGEST
from assets.evaluation.releases.measure import Progress, measure, this_program
from assets.evaluation.releases.record import (
    Conditions,
    DataRecord,
    FileRecord,
    Headline,
    Program,
    Release,
    file_records,
)
from assets.evaluation.releases.release import shown
from assets.idmap import IdMap
from assets.storage import Storage
from assets.training.checkpoints import (
    MANIFEST,
    CheckpointError,
    checkpoint_digest,
    load_counting,
    load_net,
    read_manifest_in,
)
from assets.transforms.export import TablesError, verify_tables

TOLERANCE: Final = 1.0
"""Cases whose whole gain a headline may be off by: another number of cores or another processor sums in another order,
and a target whose score all but ties with another's may change places. On the same machine it is off by nothing."""


class Verdict(IntEnum):
    """What the command's exit status says; of several, the lowest above 0."""

    SAME = 0
    UNREADABLE = 1
    FILES_DIFFER = 3
    DATA_DIFFERS = 4
    HEADLINE_DIFFERS = 5


@dataclass(frozen=True)
class Finding:
    """One check: what it found, in words."""

    verdict: Verdict
    text: str


def verify(release: Release, folder: Path, storage: Storage, progress: Progress = lambda *_: None) -> list[Finding]:
    """Every check of the checkpoint in ``folder`` against ``release``, on the tables of ``storage``."""
    findings = _files(release, folder)
    if not _all_same(findings):
        return [*findings, Finding(Verdict.SAME, "not loaded, and nothing ranked, because files differ")]
    findings += _manifest(release, folder)
    findings += _data(release.data, storage)
    if not _all_same(findings):
        return [*findings, Finding(Verdict.SAME, "headline not ranked anew, because of what differs")]
    found = measure(storage, folder, release.conditions, progress)
    return [*findings, *held_to(release.conditions, release.headline, found), *_program(release)]


def verdict_of(findings: list[Finding]) -> Verdict:
    """Of all findings."""
    return min((found.verdict for found in findings if found.verdict), default=Verdict.SAME)


def _all_same(findings: list[Finding]) -> bool:
    return verdict_of(findings) is Verdict.SAME


def _files(release: Release, folder: Path) -> list[Finding]:
    """Sizes and digests of all files, and that there are no others."""
    found = file_records(folder) if folder.is_dir() else {}
    odd = _differences(_described(release.files), _described(found))
    lines = [Finding(Verdict.FILES_DIFFER, f"{folder / name} {how}") for name, how in odd.items()]
    return lines or [Finding(Verdict.SAME, f"digests of {len(found)} files")]


def _described(files: Mapping[str, FileRecord]) -> dict[str, str]:
    return {name: f"{held.bytes} bytes, sha256 {held.sha256}" for name, held in files.items()}


def _manifest(release: Release, folder: Path) -> list[Finding]:
    """The digest that ranks and indexes know, and every id map's own."""
    try:
        manifest = read_manifest_in(folder)
        digest = checkpoint_digest(manifest)
        known = (manifest["model"], manifest["seed"], manifest["data_version"])
        maps = _maps(folder, manifest)
        ids = sum(len(tuple(each.ids)) for each in maps.values())  # reads, and holds against the manifest
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        return [Finding(Verdict.FILES_DIFFER, f"{folder / MANIFEST} is not whole: {error}")]
    wanted = {"digest": release.checkpoint, "model": release.model, "seed": release.seed, "tables": release.data.tables}
    found = dict(zip(wanted, (digest, *known), strict=True))
    odd = [
        Finding(Verdict.FILES_DIFFER, f"the manifest's {name} is {found[name]}, the record's {wanted[name]}")
        for name in wanted
        if found[name] != wanted[name]
    ]
    return odd or [
        Finding(Verdict.SAME, f"checkpoint {digest[:12]}: {release.model}, {len(maps)} id maps, {ids:,} ids")
    ]


def _maps(folder: Path, manifest: Mapping[str, Any]) -> Mapping[str, IdMap]:
    """The id maps of a net that loads; a counting model that loads has none."""
    if manifest["kind"] != "counting":
        return load_net(folder, manifest).encodings.maps
    load_counting(manifest)
    return {}


def _data(wanted: DataRecord, storage: Storage) -> list[Finding]:
    """The tables at hand, every one of which is read."""
    try:
        held = verify_tables(storage)
    except TablesError as error:
        return [Finding(Verdict.DATA_DIFFERS, f"no tables to judge it on: {error}")]
    if held["version"] == wanted.tables and storage.dataset == wanted.dataset:
        return [Finding(Verdict.SAME, f"tables of {wanted.dataset}: version {wanted.tables[:12]}")]
    lines = [f"tables of {storage.dataset} are version {held['version'][:12]}, the record's {wanted.tables[:12]}"]
    if storage.dataset != wanted.dataset:
        lines.append(f"the dataset is {storage.dataset}, the record's {wanted.dataset}: see --dataset")
    if held["data_version"] != wanted.raw:
        lines.append(f"the raw tables are {held['data_version'][:12]}, the record's {wanted.raw[:12]}")
    split = _differences(wanted.split, held["vars"])
    lines += [f"the split's {name} {how}" for name, how in split.items()]
    files = {name: record["sha256"] for name, record in held["tables"].items()}
    lines += [f"table {name} {how}" for name, how in _differences(wanted.files, files).items()]
    return [Finding(Verdict.DATA_DIFFERS, line) for line in lines]


def held_to(conditions: Conditions, wanted: Headline, found: Headline) -> list[Finding]:
    """Equal, or off by less than the gain of :data:`TOLERANCE` cases."""
    if found == wanted:
        return [Finding(Verdict.SAME, f"{shown(conditions, found)}, to the last bit")]
    allowed = TOLERANCE / max(1, wanted.cases)
    gaps = [abs(getattr(found, name) - getattr(wanted, name)) for name in ("value", "ci_low", "ci_high")]
    said = f"{shown(conditions, found)}, the record says {shown(conditions, wanted)}"
    if found.cases != wanted.cases or not all(gap <= allowed for gap in gaps):  # so that a NaN differs
        return [Finding(Verdict.HEADLINE_DIFFERS, said)]
    return [Finding(Verdict.SAME, f"{said}: off by {max(gaps):.1e}, {allowed:.1e} is allowed between machines")]


def _program(release: Release) -> list[Finding]:
    """Other versions than it was released with are told, and are no fault."""
    odd = _differences(_versions(release.program), _versions(this_program()))
    return [Finding(Verdict.SAME, f"note: {name} {how}") for name, how in odd.items()]


def _versions(program: Program) -> dict[str, object]:
    return {**program.packages, **program.model_dump(exclude={"packages"})}


def _differences(wanted: Mapping[str, object], found: Mapping[str, object]) -> dict[str, str]:
    """Name -> how it differs, in words."""
    told = {name: "is not in the record" for name in found if name not in wanted}
    told |= {name: "is missing" for name in wanted if name not in found}
    both = [name for name in wanted if name in found and wanted[name] != found[name]]
    return told | {name: f"is {_short(found[name])}, the record says {_short(wanted[name])}" for name in both}


def _short(value: object) -> str:
    """Digests are told apart by their beginning."""
    text = str(value)
    if DIGEST.fullmatch(text):
        return text[:12]
    return text if len(text) < 100 else f"{text[:97]}..."
