"""What `make audit` says, above all where nothing could be looked up."""

from email.message import Message

import pytest

from benchmarks.licences import Licence, licence_of, page, pinned, refused
from benchmarks.vulnerabilities import audit_of

KNOWN = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2", "3"]}]}
CLEAN = {"name": "b", "version": "1", "vulns": []}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([CLEAN], 0, "1 of 1 packages looked up, 0 vulnerabilities"),
        ([KNOWN, CLEAN, SKIPPED], 1, "a 1: CVE-1, mended by 2, 3"),
        ([CLEAN, SKIPPED], 2, "NOT AUDITED: 1 packages (c …)"),
        ([], 2, "0 of 0"),
    ],
)
def test_what_was_not_looked_up_is_no_success(packages: list[dict], status: int, said: str) -> None:
    found = audit_of({"dependencies": packages})
    assert found.status == status
    assert said in found.describe("a.lock")


def _told(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        (_told(License_Expression="MIT OR Apache-2.0", License="x"), "MIT OR Apache-2.0"),
        (_told(Classifier="License :: OSI Approved :: Apache Software License"), "Apache-2.0"),
        (_told(Classifier="License :: OSI Approved", License="3-Clause BSD License"), "BSD-3-Clause"),
        (_told(License="MIT License\n\nPermission is hereby"), "MIT"),
        (_told(License="x" * 61), "not stated"),
        (_told(Classifier="Topic :: Internet"), "not stated"),
    ],
)
def test_a_licence_is_what_the_package_states(told: Message, licence: str) -> None:
    assert licence_of(told) == licence


def test_pins_of_other_systems_are_left_out() -> None:
    lock = "# made\na==1.0\n    # via b\nb[x]==2.0 ; sys_platform == 'none'\nc-d==3 ; python_version > '3'\n"
    assert pinned(lock) == {"a": "1.0", "c-d": "3"}


def test_unknown_and_copyleft_licences_of_the_default_install_are_named() -> None:
    every = [
        Licence("good", "1", "MIT", extra=False),
        Licence("lesser", "1", "LGPL-3.0", extra=False),
        Licence("strong", "1", "AGPL-3.0", extra=False),
        Licence("silent", "1", "not stated", extra=False),
        Licence("optional", "1", "GPL-3.0", extra=True),
    ]
    assert [each.name for each in refused(every)] == ["strong", "silent"]
    noted = page(every).split("## To look at")[1].split("## Default")[0]
    assert [name for name in ("good", "lesser", "strong", "silent", "optional") if name in noted] == [
        *("lesser", "strong", "silent", "optional")
    ]
