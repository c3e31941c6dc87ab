"""The static site opened from disk in headless Chromium: no network, no errors, no sideways scrolling, readable by all.

Screenshots of every page, light and dark, on a laptop and a narrow phone, go to the folder that ``THAW_ARTIFACTS``
names, or to the test's own.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import ViewportSize

from assets.monitoring.site.build import write_site
from tests.assets.monitoring.site_home import settings_of, write_home
from tests.browser import LAPTOP, Browsing, chromium_page

pytestmark = pytest.mark.browser

NARROW: ViewportSize = {"width": 360, "height": 740}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
DRAWN = """() => [...document.querySelectorAll('.plot')].every(
  plot => plot.querySelector('.main-svg .trace, .main-svg .bars path'))"""

SETTLED = """() => [...document.querySelectorAll('.plot')].every(
  plot => Math.abs(plot.querySelector('.main-svg').getBoundingClientRect().width - plot.clientWidth) < 2)"""

CONTRAST = """() => {
  const channel = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = rgb => .2126 * channel(rgb[0]) + .7152 * channel(rgb[1]) + .0722 * channel(rgb[2]);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const ground = node => { for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color; }
    return [255, 255, 255]; };
  const ratio = (one, other) => {
    const pair = [light(one), light(other)].sort((a, b) => b - a); return (pair[0] + .05) / (pair[1] + .05); };
  const words = [...document.querySelectorAll('body *')].filter(node => !node.closest('svg, script, style')
    && [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()));
  const texts = words.map(node => ratio(parse(getComputedStyle(node).color), ground(node)));
  const labels = [...document.querySelectorAll('.plot svg text')].map(node =>
    ratio(parse(getComputedStyle(node).fill), ground(node.closest('.plot'))));
  const lines = [...document.querySelectorAll('.legend .key')].map(node =>
    ratio(parse(getComputedStyle(node).borderTopColor), ground(node)));
  return { text: Math.min(...texts, ...labels), line: Math.min(...lines, 99) }; }"""

OUTLINE = """() => ({
  levels: [...document.querySelectorAll('h1, h2, h3, h4')].map(node => Number(node.tagName[1])),
  landmarks: ['header', 'nav', 'main', 'footer'].map(name => document.querySelectorAll('body > ' + name).length),
  current: [...document.querySelectorAll('nav [aria-current=page]')].map(node => node.getAttribute('href')),
  language: document.documentElement.lang,
  title: document.title,
  repeated: [...document.querySelectorAll('[id]')].map(node => node.id).filter((id, at, all) => all.indexOf(id) !== at),
  unnamed: [...document.querySelectorAll('a, button, summary, [role=img], [role=region], section')].filter(node =>
    !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.innerText.trim())).length,
  tables: [...document.querySelectorAll('table')].filter(table => !table.caption || !table.tHead
    || [...table.tHead.querySelectorAll('th')].some(head => head.scope !== 'col')).length,
  unexplained: [...document.querySelectorAll('figure')].filter(figure =>
    !figure.querySelector('figcaption').innerText.trim() || !figure.querySelector('details table tbody tr')).length,
})"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("site")
    site = write_site(write_home(root, partitions=20), settings_of(root), datetime(2024, 5, 1, tzinfo=UTC))
    assert site.problems == []
    return site.pages


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept."""
    named = os.environ.get("THAW_ARTIFACTS")
    folder = Path(named) / "site" if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def browsing() -> Iterator[Browsing]:
    with chromium_page() as opened:
        yield opened
        assert (opened.blocked, opened.errors) == ([], [])


def open_page(browsing: Browsing, path: Path) -> None:
    browsing.page.goto(path.absolute().as_uri())
    browsing.page.wait_for_function(DRAWN)


def named(pages: list[Path], name: str) -> Path:
    return next(path for path in pages if path.name == f"{name}.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_on_laptop_and_phone(pages: list[Path], artifacts: Path, dark: bool) -> None:
    scheme = "dark" if dark else "light"
    with chromium_page(dark=dark) as browsing:
        for path in pages:
            open_page(browsing, path)
            for viewport in (LAPTOP, NARROW):
                browsing.page.set_viewport_size(viewport)
                assert browsing.page.evaluate(OVERFLOW) <= 0, f"{path.name} is wider than {viewport['width']}"
                browsing.page.wait_for_function(SETTLED)  # Plotly follows a resize a moment later
                shot = artifacts / f"{path.stem}-{viewport['width']}-{scheme}.png"
                browsing.page.screenshot(path=shot, full_page=True)
                assert shot.stat().st_size > 5_000
            contrast = browsing.page.evaluate(CONTRAST)
            assert contrast["text"] >= 4.5, f"{path.name}, {scheme}"  # WCAG 2.1, level AA: text
            assert contrast["line"] >= 3.0, f"{path.name}, {scheme}"  # and graphics
        assert (browsing.blocked, browsing.errors) == ([], [])


def test_every_page_is_well_formed_for_a_screen_reader(pages: list[Path], browsing: Browsing) -> None:
    titles = set()
    for path in pages:
        open_page(browsing, path)
        outline = browsing.page.evaluate(OUTLINE)
        levels = outline["levels"]
        assert levels[0] == 1, path.name
        assert levels.count(1) == 1, path.name
        assert all(after <= before + 1 for before, after in pairwise(levels)), path.name
        assert outline["landmarks"] == [1, 1, 1, 1], path.name
        assert (outline["current"], outline["language"]) == ([path.name], "en")
        assert [outline[name] for name in ("repeated", "unnamed", "tables", "unexplained")] == [[], 0, 0, 0], path.name
        titles.add(outline["title"])
    assert len(titles) == len(pages)


def test_by_keyboard_alone(pages: list[Path], browsing: Browsing) -> None:
    page = browsing.page
    open_page(browsing, named(pages, "freshness"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.line") == "p50"
    lines = page.locator("#quantiles .plot .scatterlayer .trace")
    assert lines.count() == 3
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "false"
    assert lines.count() == 2
    page.keyboard.press("Space")
    assert lines.count() == 3
    for _ in range(3):  # past the other lines to the numbers
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#quantiles details[open] tbody tr").count() == 20


def test_figures_follow_the_scheme(pages: list[Path], browsing: Browsing) -> None:
    open_page(browsing, named(pages, "decay"))
    strokes = """colour => [...document.querySelectorAll('#windows-hr .plot .js-line')].some(
      line => line.getAttribute('style').includes(colour))"""
    assert browsing.page.evaluate(strokes, "rgb(0, 114, 178)")
    browsing.page.emulate_media(color_scheme="dark")
    browsing.page.wait_for_function(strokes, arg="rgb(86, 180, 233)")
    assert not browsing.page.evaluate(strokes, "rgb(0, 114, 178)")


def test_figures_are_as_wide_as_their_panel(pages: list[Path], browsing: Browsing) -> None:
    open_page(browsing, named(pages, "drift"))
    browsing.page.set_viewport_size(NARROW)
    browsing.page.wait_for_function("document.querySelector('.plot .main-svg').getBoundingClientRect().width < 340")


def test_without_the_bundle_the_numbers_are_there(pages: list[Path], browsing: Browsing, tmp_path: Path) -> None:
    alone = tmp_path / "drift.html"
    alone.write_bytes(named(pages, "drift").read_bytes())
    browsing.page.goto(alone.as_uri())
    assert "Figures need plotly.min.js" in browsing.page.inner_text(".plot >> nth=0")
    assert browsing.page.locator("details table").count() == 3
    browsing.errors.clear()  # the missing script, as it should be


def test_the_way_from_the_front_page_to_a_report(pages: list[Path], browsing: Browsing) -> None:
    page = browsing.page
    open_page(browsing, named(pages, "index"))
    assert page.locator(".topics li").count() == 6
    page.locator(".topics").get_by_role("link", name="Drift").click()
    page.get_by_role("link", name="2024-02-20").click()
    assert page.url.endswith("drift/partition-2024-02-20.html")
    open_page(browsing, named(pages, "data-quality"))
    page.get_by_role("link", name="items").click()
    assert page.url.endswith("quality/index.html#items")
