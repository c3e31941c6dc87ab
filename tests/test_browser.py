"""Where the Chromium of the browser tests comes from."""

import sys

import pytest

from tests import browser


def test_the_environment_names_the_executable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_CHROMIUM", sys.executable)
    assert browser.chromium_path() == sys.executable


@pytest.mark.parametrize("chosen", ["", "/no/such/chromium"])
def test_without_one_the_test_is_skipped_with_a_way_out(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setenv("THAW_CHROMIUM", chosen)
    monkeypatch.delenv("THAW_REQUIRE_BROWSER", raising=False)
    monkeypatch.setattr(browser, "NAMES", ())
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        browser.chromium_path()


def test_where_a_browser_is_required_its_absence_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THAW_CHROMIUM", "/no/such/chromium")
    monkeypatch.setenv("THAW_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="THAW_CHROMIUM=/no/such/chromium is not an executable"):
        browser.chromium_path()
