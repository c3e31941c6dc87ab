"""The licences of everything that the locks pin, as the installed packages state them, to ``docs/licences.md``.

    python -m benchmarks.licences    0: written, every licence known and none that asks for more than notice    1: else

Nothing is looked up: metadata of installed packages is read, so run it where both locks are installed (``make audit``).
"""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from tabulate import tabulate

from assets.config import PROJECT_ROOT
from assets.storage import write_text

PAGE: Final = PROJECT_ROOT / "docs" / "licences.md"
LOCKS: Final = {"default": "requirements.lock", "extras": "requirements-extras.lock"}
LONGEST: Final = 60
"""Characters of a free-text licence that can be a name; longer ones are the text itself."""

UNKNOWN: Final = "not stated"
MISSING: Final = "not installed"
COPYLEFT: Final = re.compile(r"\b(A?GPL|GNU (Affero )?General Public|SSPL|EUPL|CC-BY-(NC|SA))", re.IGNORECASE)
LESSER: Final = re.compile(r"\b(LGPL|Lesser General Public)", re.IGNORECASE)

EQUAL: Final[Mapping[str, str]] = {
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "MIT License": "MIT",
    "The MIT License (MIT)": "MIT",
    "BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
}
"""What classifiers and free texts call what SPDX has a name for."""

CHOSEN: Final = {"text-unidecode": "the Artistic License, offered beside the GPL; python-slugify brings it"}
"""Packages under several licences of which one may choose, and which is."""


@dataclass(frozen=True)
class Licence:
    """One package's.

    Attributes:
        name, version: of the package, as pinned.
        licence: as stated.
        extra: whether the default install does without it.
    """

    name: str
    version: str
    licence: str
    extra: bool


def pinned(lock: str) -> dict[str, str]:
    """Name -> version of a lock's text, without what it pins for other systems than this one."""
    lines = [Requirement(line) for line in lock.splitlines() if line[:1].isalnum()]
    here = [line for line in lines if line.marker is None or line.marker.evaluate()]
    return {line.name: str(line.specifier).removeprefix("==") for line in here}


def licence_of(told: Message) -> str:
    """What a package's metadata say: the SPDX expression, else classifiers, else a short free text."""
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = [line.split(" :: ")[-1] for line in told.get_all("Classifier") or [] if line.startswith("License ::")]
    named = sorted({EQUAL.get(one, one) for one in classifiers if one != "OSI Approved"})
    if named:
        return "; ".join(named)
    first = str(told.get("License") or "").strip().split("\n")[0]  # of a whole text, its title
    return EQUAL.get(first, first) if 0 < len(first) <= LONGEST else UNKNOWN


def licences(locks: Mapping[str, str]) -> list[Licence]:
    """Of every package pinned in ``locks`` (texts by name of :data:`LOCKS`), by name."""
    default, extras = pinned(locks["default"]), pinned(locks["extras"])
    every = {**extras, **default}
    return [Licence(name, every[name], _installed(name), name not in default) for name in sorted(every, key=str.lower)]


def _installed(name: str) -> str:
    try:
        return licence_of(metadata(name))  # type: ignore[arg-type]  # it is a Message, typed as less
    except PackageNotFoundError:
        return MISSING


def page(found: Sequence[Licence]) -> str:
    """The report as Markdown."""
    default = [each for each in found if not each.extra]
    sections = ["# Licences", _HEAD.format(default=len(default), extras=len(found) - len(default))]
    for title, members in (("To look at", notable(found)), ("Default install", default)):
        sections += [f"## {title}", _table(members) if members else "None."]
    sections += ["## Extras alone", _table([each for each in found if each.extra])]
    sections += ["## By licence", _counts(found)]
    return "\n\n".join(sections) + "\n"


def notable(found: Sequence[Licence]) -> list[Licence]:
    """Those with a copyleft licence, of whatever strength, and those that state none."""
    return [each for each in found if unknown(each) or COPYLEFT.search(each.licence) or LESSER.search(each.licence)]


def unknown(each: Licence) -> bool:
    """Whether nobody knows."""
    return each.licence in {UNKNOWN, MISSING}


def refused(found: Sequence[Licence]) -> list[Licence]:
    """Those of the default install that are unknown or copyleft beyond the library's own files."""
    strong = [
        each
        for each in found
        if COPYLEFT.search(each.licence) and not LESSER.search(each.licence) and each.name not in CHOSEN
    ]
    return [each for each in found if not each.extra and (unknown(each) or each in strong)]


_HEAD: Final = """Made by `make audit` from what the installed packages state of themselves: {default} in the default
install (`requirements.lock`), {extras} more with every extra (`requirements-extras.lock`). It is a record, not advice.
Where classifiers name several licences (`a; b`), they do not say whether one may choose. Data sets have terms of their
own: [datasets.md](datasets.md). System programs that extras use (Java, redis-server, PostgreSQL) are not Python
packages and not listed."""


def _table(members: Sequence[Licence]) -> str:
    rows = [(each.name, each.version, each.licence) for each in members]
    return tabulate(rows, ("package", "version", "licence"), "github", disable_numparse=True)


def _counts(found: Sequence[Licence]) -> str:
    by_licence: dict[str, int] = defaultdict(int)
    for each in found:
        by_licence[each.licence] += 1
    rows = sorted(by_licence.items(), key=lambda one: (-one[1], one[0]))
    return tabulate(rows, ("licence", "packages"), "github")


def main(page_path: Path = PAGE) -> int:
    """Write the page and name what stops a release."""
    texts = {name: (PROJECT_ROOT / file).read_text(encoding="utf-8") for name, file in LOCKS.items()}
    found = licences(texts)
    write_text(page_path, page(found))
    sys.stdout.write(f"{page_path}: {len(found)} packages\n")
    for each in (bad := refused(found)):
        sys.stdout.write(f"  {each.name} {each.version}: {each.licence}: look at it before a release\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
