"""What must hold of a contest before anybody is promoted by it. Pure."""

from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from assets.champion.files import contest_ranks_path
from assets.champion.grounds import CHAMPION, CONTENDERS, PROTOCOL, Grounds, folders, grounds_of
from assets.champion.history import cases_between
from assets.config import Settings
from assets.evaluation.protocol import build_cases, drawn
from assets.evaluation.run import fallback
from assets.evaluation.slices import CASE_KEY, check_same_cases
from assets.evaluation.soundness import FutureReport, future_report
from assets.schema import Columns
from assets.storage import Storage, read_parquet
from assets.training.checkpoints import load_net, read_manifest_in, recommender_in

CASES_COMPARED: Final = 500
"""Whose ranks are compared with and without their future, at most."""

SHOWN: Final = 5
"""Ids named in a message, at most."""


def unsound(storage: Storage, settings: Settings, account: dict[str, Any]) -> list[str]:
    """Everything that speaks against acting on the contest of ``account``; nothing where it was fair."""
    grounds = grounds_of(storage, settings)
    reports = future_reports(storage, grounds, settings, CASES_COMPARED)
    return [
        *knows_of_the_window(storage, grounds),
        *unlike_cases(read_parquet(contest_ranks_path(storage, account["name"])), account),
        *changed_ranks(reports),
    ]


def knows_of_the_window(storage: Storage, grounds: Grounds) -> list[str]:
    """What the challenger knows that nobody could before the window: bounds behind its start, ids engaged with later.

    Its id maps hold the users and items of its training, so one that had seen the window would name them.
    """
    folder = grounds.challenger.folder(storage)
    manifest = read_manifest_in(folder)
    found = [
        f"{name} {value} is after the window began at {grounds.starts_at}"
        for name, value in manifest["bounds"].items()
        if np.datetime64(value, "us") > grounds.starts_at
    ]
    rows = grounds.tables.interactions
    before = rows[(rows[Columns.TIMESTAMP] < grounds.starts_at).to_numpy()]
    encodings = load_net(folder, manifest).encodings
    maps = {
        "user": (encodings.users, Columns.USER),
        "history user": (encodings.history_users, Columns.USER),
        "item": (encodings.items, Columns.ITEM),
    }
    for kind, (ids, column) in maps.items():
        later = sorted(set(ids.ids) & set(rows[column]) - set(before[column]))
        if later:
            found.append(f"{len(later)} {kind} ids were first seen in the window: {', '.join(later[:SHOWN])}")
    return found


def unlike_cases(ranks: pd.DataFrame, account: dict[str, Any]) -> list[str]:
    """Where the contenders' cases differ from the champion's or from the account."""
    by_name = {
        name: ranks[ranks["contender"] == name].sort_values(list(CASE_KEY), ignore_index=True) for name in CONTENDERS
    }
    found = []
    for name, held in by_name.items():
        try:
            check_same_cases(held, by_name[CHAMPION])
        except ValueError:
            found.append(f"{name} was ranked on other cases than the champion")
        if len(held) != account["cases"]:
            found.append(f"{name} has {len(held):,} cases, the account {account['cases']:,}")
    return found


def future_reports(storage: Storage, grounds: Grounds, settings: Settings, cases: int) -> dict[str, FutureReport]:
    """Per contender, whether ranks of the window's middle day change when what came after is removed.

    Args:
        cases: compared, at most.
    """
    tables = grounds.tables
    held = drawn(build_cases(cases_between(tables, *grounds.bounds), tables), 10 * cases)
    floor = fallback(tables, settings)
    return {
        name: future_report(partial(recommender_in, path), floor, held, tables, [PROTOCOL], cases)
        for name, path in folders(storage, grounds).items()
    }


def changed_ranks(reports: dict[str, FutureReport]) -> list[str]:
    """Contenders whose ranks depend on what came after."""
    return [f"{report.changed} ranks of the {name} change" for name, report in reports.items() if report.changed]
