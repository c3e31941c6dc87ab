"""Reports opened from disk in headless Chromium, without a network, as a reader would."""

from pathlib import Path

import dagster as dg
import pytest

from assets.monitoring.assets import engagement_drift
from assets.monitoring.places import report_path
from assets.quality.checks import record, validate_table
from assets.quality.results import page_path, table_path
from assets.storage import Storage, write_text
from tests.assets.quality.toy import change, toy_settings, write_dataset
from tests.browser import LAPTOP, PHONE, Browsing, chromium_page

pytestmark = pytest.mark.browser
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Every page of the toy dataset; one table is broken, so that the data quality page has something to show."""
    root = tmp_path_factory.mktemp("pages")
    storage, settings = write_dataset(root), toy_settings(root)
    change(table_path(storage, "items"), lambda table: table.assign(slice="lukewarm"))
    record(storage, validate_table("items", storage, settings))
    change(table_path(storage, "items"), lambda table: table.assign(slice="head"))
    record(storage, validate_table("users", storage, settings))
    resources = {"storage": storage, "settings": settings}
    assert dg.materialize([engagement_drift], resources=resources).success
    return storage


def open_page(browsing: Browsing, path: Path) -> None:
    browsing.page.goto(path.absolute().as_uri())


def assert_clean(browsing: Browsing) -> None:
    """Nothing was wanted from a network, nothing failed, and the page is no wider than the window, phone or laptop."""
    for viewport in (LAPTOP, PHONE):
        browsing.page.set_viewport_size(viewport)
        assert browsing.page.evaluate(OVERFLOW) <= 0
    assert (browsing.blocked, browsing.errors) == ([], [])


def test_drift_report(storage: Storage) -> None:
    with chromium_page() as browsing:
        open_page(browsing, report_path(storage, 1))
        page = browsing.page
        assert page.inner_text("h1") == "Engagement drift of toy, window 1"
        page.get_by_text("Dataset Drift", exact=True).wait_for()
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        assert page.locator("#thaw tbody tr").count() == 9
        assert_clean(browsing)


def test_data_quality(storage: Storage) -> None:
    with chromium_page() as browsing:
        open_page(browsing, page_path(storage))
        page = browsing.page
        assert page.inner_text("header p.failed") == "✗ 1 failed: items"
        assert page.locator("tbody th", has_text="slice is one of head, tail, cold").count() == 1
        assert page.locator("details table").first.inner_text().count("lukewarm") == 6
        page.get_by_role("link", name="items").click()
        assert page.url.endswith("#items")
        assert_clean(browsing)


CONTRAST = """part => {
  const channel = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = rgb => .2126 * channel(rgb[0]) + .7152 * channel(rgb[1]) + .0722 * channel(rgb[2]);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const ground = node => { for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color; }
    return [255, 255, 255]; };
  const texts = document.querySelector(part).querySelectorAll('h1,h2,p,li,td,th,caption,a,code,summary');
  const ratios = [...texts].map(node => {
    const pair = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
    return (pair[0] + .05) / (pair[1] + .05); });
  return Math.min(...ratios); }"""


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_enough_to_read(storage: Storage, dark: bool) -> None:
    """Contrast of text to ground is at least 4.5 (WCAG 2.1, level AA)."""
    with chromium_page(dark=dark) as browsing:
        for path, part in (
            (page_path(storage), "body"),
            (report_path(storage, 0), "#thaw"),
        ):
            open_page(browsing, path)
            assert browsing.page.evaluate(CONTRAST, part) >= 4.5


def test_a_request_to_the_network_is_refused_and_seen(tmp_path: Path) -> None:
    page = write_text(tmp_path / "page.html", '<img src="https://example.invalid/picture.png"><script>oops()</script>')
    with chromium_page() as browsing:
        open_page(browsing, page)
        assert browsing.blocked == ["https://example.invalid/picture.png"]
        assert any("oops is not defined" in error for error in browsing.errors)
