"""Extras that a test needs: without one it is skipped, or fails where all are said to be installed."""

import importlib.util
import os

import pytest


def needs(*modules: str) -> None:
    """Skip the calling module where one of ``modules`` is missing; fail there under ``THAW_REQUIRE_EXTRAS=1``."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} is not installed: make extras"
    if os.environ.get("THAW_REQUIRE_EXTRAS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
