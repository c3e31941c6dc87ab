"""Acting on a contest, and taking it back: the switch of what serves, and its record.

Every step may be killed and repeated: what serves is switched in one rename, and what is missing of the record then is
added by the repetition.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from assets.champion.challenger import prune
from assets.champion.contest import latest_contest
from assets.champion.files import challengers_folder
from assets.champion.grounds import ContestError
from assets.champion.history import read_served, tables_at
from assets.champion.record import RecordEntry, append, decided, event_clock, note_serving
from assets.champion.sound import unsound
from assets.config import Settings
from assets.ingestion.landing.merge import is_replay
from assets.serving.live.build import unfit
from assets.serving.live.generation import (
    Generation,
    GenerationError,
    open_generation,
    previous,
    require_current,
)
from assets.serving.live.material import of_contest
from assets.serving.live.succession import RecallError, bring_back, replace_champion
from assets.serving.record import Kind
from assets.storage import Storage, write_json
from assets.training.checkpoints import CheckpointError, checkpoint_digest, read_manifest_in

Told = Callable[[str], None]

MINIMUM_RECALL: Final = "minimum_recall"
INDEX: Final = "index"
"""In the evidence of a contest that was lost for its index: the recall that was asked for."""


@dataclass(frozen=True)
class Decision:
    """What came of a contest.

    Attributes:
        entry: of the record.
        fresh: whether it was decided now; the same contest is not decided twice.
    """

    entry: RecordEntry
    fresh: bool


def act_on_contest(storage: Storage, settings: Settings, now: int, progress: Told = lambda _: None) -> Decision:
    """Let the latest contest's challenger serve if it won, and record what came of it.

    A contest is decided once: what was rolled back stays so. One that was lost and is won when it is held again, under
    other settings, is decided anew; one that was lost for its index's recall, when a lower one is asked for by now.

    Args:
        now: wall clock, microseconds.

    Raises:
        ContestError: when there is no contest, its champion serves no longer, its challenger is gone, or it was not
            fair (:mod:`.sound`).
        NoIndexError: when nothing serves.
    """
    account = latest_contest(storage)
    entry = decided(storage, account["name"])
    if entry is not None and _stands(entry, account, settings):
        return Decision(entry, fresh=False)
    entry = _decide(storage, settings, account, now, progress)
    for name in prune(storage, settings.retraining.keep):
        progress(f"removed challenger {name}")
    return Decision(entry, fresh=True)


def _stands(entry: RecordEntry, account: dict[str, Any], settings: Settings) -> bool:
    """Whether what came of a contest is what would come of it now."""
    if entry.kind == "won" or not account["promoted"]:
        return True
    asked = entry.evidence.get(MINIMUM_RECALL)  # absent where the contest itself was lost, and held again since
    if asked is None or entry.evidence.get(INDEX) != _index(settings):
        return False
    return settings.index.minimum_recall >= asked


def _index(settings: Settings) -> dict[str, Any]:
    """What else the recall that was found depends on."""
    return settings.index.model_dump(mode="json", exclude={MINIMUM_RECALL})


def _decide(storage: Storage, settings: Settings, account: dict[str, Any], now: int, progress: Told) -> RecordEntry:
    champion, serving = require_current(storage), _note(storage, now)
    evidence = {name: account[name] for name in ("verdict", "reason", "difference", "against_floor", "window")}
    evidence |= {"champion": account["champion"]["model"], "challenger": account["challenger"]["model"]}
    if serving == account["challenger"]["checkpoint"]:  # killed after the switch
        return _record(storage, "won", previous(storage), now, account["name"], evidence)
    if serving != account["champion"]["checkpoint"]:
        raise ContestError(
            f"contest {account['name']} was about {account['champion']['generation']}, now {champion.name} serves: run"
            " `thaw retrain`"
        )
    if not account["promoted"]:
        return _record(storage, "lost", champion, now, account["name"], evidence)
    _checked_folder(storage, account)
    # The checks stop this step within their own run; whoever runs it alone is stopped here.
    if problems := unsound(storage, settings, account):
        raise ContestError(f"contest {account['name']} was not fair, nobody is promoted: {'; '.join(problems)}")
    try:
        _switch(storage, settings, champion, account, now, progress)
    except RecallError as error:
        progress(str(error))
        evidence |= {"verdict": "index finds too little", "reason": str(error)}
        evidence |= {"recall": error.recall, MINIMUM_RECALL: error.minimum, INDEX: _index(settings)}
        return _record(storage, "lost", champion, now, account["name"], evidence)
    return _record(storage, "won", champion, now, account["name"], evidence)


def roll_back(storage: Storage, settings: Settings, now: int, progress: Told = lambda _: None) -> RecordEntry:
    """Let the former generation serve again, up to date with everything that landed and was removed since.

    Doing it twice comes back. One that was killed is finished, not undone, by the next.

    Args:
        now: wall clock, microseconds.

    Raises:
        GenerationError: when there is no former generation, or it cannot serve any more.
        RecallError: when its index finds too little.
        NoIndexError: when nothing serves.
    """
    intent = storage.champion / "rollback.json"
    leaving = require_current(storage)
    begun = json.loads(intent.read_text(encoding="utf-8")) if intent.exists() else {}
    if begun.get("to") != leaving.name:
        _note(storage, now)
        target = _former(storage, leaving)
        write_json(intent, {"from": leaving.name, "to": target.name})
        progress(f"bringing {target.name} up to date")
        bring_back(storage, settings, leaving, target, now, progress)
    entry = _record(storage, "rollback", previous(storage), now, None, {})
    intent.unlink()
    return entry


def _former(storage: Storage, leaving: Generation) -> Generation:
    target = previous(storage)
    if target is None or not target.folder.exists():
        raise GenerationError(f"there is no generation before {leaving.name} to go back to")
    if reason := unfit(storage, target):
        raise GenerationError(f"{reason}: there is nothing to go back to")
    if target.record().until is None and is_replay(storage):
        raise GenerationError(f"generation {target.name} knows what the replay is about to land: end the replay first")
    return target


def _switch(
    storage: Storage, settings: Settings, champion: Generation, account: dict[str, Any], now: int, progress: Told
) -> None:
    with open_generation(storage, champion) as opened:
        served, until = read_served(opened), opened.record.until
    cutoff = np.datetime64(account["challenger"]["trained_until"], "us")
    folder = _checked_folder(storage, account)
    material = of_contest(folder, tables_at(served, cutoff, settings.split), until)
    replace_champion(storage, settings, champion, material, now, progress)


def _checked_folder(storage: Storage, account: dict[str, Any]) -> Path:
    named = account["challenger"]
    folder = challengers_folder(storage) / named["model"] / named["name"]
    try:
        digest = checkpoint_digest(read_manifest_in(folder))
    except CheckpointError as error:
        raise ContestError(
            f"the challenger of contest {account['name']} is gone ({error}): run `thaw retrain`"
        ) from error
    if digest != named["checkpoint"]:
        raise ContestError(f"{folder} was trained again since contest {account['name']}: hold the contest again")
    return folder


def _note(storage: Storage, now: int) -> str:
    """Put what serves on record if it is not; returns the digest of its checkpoint."""
    with open_generation(storage) as opened:
        note_serving(opened, now)
        return opened.record.checkpoint


def _record(
    storage: Storage, kind: Kind, former: Generation | None, now: int, contest: str | None, evidence: dict[str, Any]
) -> RecordEntry:
    with open_generation(storage) as opened:
        entry = RecordEntry(
            at=now,
            event_at=event_clock(opened),
            kind=kind,
            generation=opened.generation.name,
            previous=None if former is None else former.name,
            model=opened.record.model,
            contest=contest,
            evidence=evidence,
        )
    return append(storage, entry)
