"""Known vulnerabilities of what the locks pin, by pip-audit, and whether it could look anything up at all.

pip-audit asks a service per package and says "No known vulnerabilities found", with exit status 0, also when the
service knew none of the packages, as a mirror without the advisories does. So what was looked up is counted here.

    python -m benchmarks.vulnerabilities    0: looked up, none known   1: some are known   2: not all could be looked up
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assets.config import PROJECT_ROOT

LOCKS: Final = ("requirements.lock", "requirements-extras.lock")
SECONDS: Final = 900
SHOWN: Final = 5


class AuditError(RuntimeError):
    """pip-audit gave no answer; the message says what it said instead."""


@dataclass(frozen=True)
class Audit:
    """What pip-audit found in one lock.

    Attributes:
        looked_up: packages that the service knew.
        skipped: name -> why not.
        known: lines of package, version, vulnerability and the versions that mend it.
    """

    looked_up: int
    skipped: Mapping[str, str]
    known: Sequence[str]

    @property
    def status(self) -> int:
        """Exit status: what is known weighs more than what is not."""
        return 1 if self.known else 2 if self.skipped or not self.looked_up else 0

    def describe(self, lock: str) -> str:
        """A few lines for people."""
        every = self.looked_up + len(self.skipped)
        lines = [f"{lock}: {self.looked_up} of {every} packages looked up, {len(self.known)} vulnerabilities known"]
        lines += [f"  {line}" for line in self.known]
        if self.skipped:
            some = ", ".join(sorted(self.skipped)[:SHOWN])
            lines.append(
                f"  NOT AUDITED: {len(self.skipped)} packages ({some} …): the service did not know them. Run this where"
                " the package index and its advisories answer; it says nothing about these packages here"
            )
        return "\n".join(lines)


def audit_of(report: Mapping[str, Any]) -> Audit:
    """The meaning of pip-audit's JSON."""
    skipped, known, looked_up = {}, [], 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped[str(package["name"])] = str(package["skip_reason"])
            continue
        looked_up += 1
        for each in package["vulns"]:
            mended = ", ".join(each["fix_versions"]) or "no version"
            known.append(f"{package['name']} {package['version']}: {each['id']}, mended by {mended}")
    return Audit(looked_up, skipped, known)


def audit(lock: Path) -> Audit:
    """Ask pip-audit about one lock.

    Raises:
        AuditError: when it is not installed, ends without an answer, or takes too long.
    """
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--no-deps", "-f", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return audit_of(json.loads(done.stdout))
    except subprocess.TimeoutExpired as error:
        raise AuditError(f"{lock.name}: no answer from the service within {SECONDS} s") from error
    except ValueError as error:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise AuditError(f"{lock.name}: pip-audit gave no report, but: {said} (pip install .[audit])") from error


def main() -> int:
    """Audit both locks and say how it went."""
    statuses = []
    for name in LOCKS:
        try:
            found = audit(PROJECT_ROOT / name)
        except AuditError as error:
            sys.stdout.write(f"{error}: NOT AUDITED\n")
            statuses.append(2)
            continue
        sys.stdout.write(found.describe(name) + "\n")
        statuses.append(found.status)
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
