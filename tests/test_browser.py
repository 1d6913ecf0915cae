"""The report in a real browser: the made-up one, and the one of the last run where this checkout has it.

Clicks are sent as events: Playwright's own wait for frames, and none comes where Chromium stops to draw.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser import Opened, needs_chromium, open_alive, open_page
from tests.conftest import ROOT
from tests.made import make_files

pytestmark = needs_chromium

LAST_RUN = ROOT / "metrics/report.html"
DESKTOP, PHONE = 1280, 390
MOST_BYTES = 2_500_000
# A sketch of the page: how wide it is, and what sticks out of it to the right.
OVERFLOW = """() => {
    const outside = (one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, svg");
    const found = [...document.querySelectorAll("body *")].filter(outside).map((one) => one.outerHTML.slice(0, 80));
    return [document.documentElement.scrollWidth - innerWidth, found];
}"""
# How much a chart is shrunk: its letters, of eleven pixels, have to be legible.
SCALE = """(place) => {
    const drawn = document.querySelectorAll(".vega-embed svg")[place];
    return drawn.getBoundingClientRect().width / drawn.viewBox.baseVal.width;
}"""
# Rows of a table are written by one loop: axe-core needs the first of them, not 40,000 cells, which take it a minute.
SHORTEN = "document.querySelectorAll('tbody tr:nth-child(n + 8)').forEach((row) => row.remove())"


@pytest.fixture(scope="module", params=["made", "last run"])
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "last run":
        return LAST_RUN
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(make_files()[Path("metrics/report.html")], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(page_file: Path) -> Iterator[Opened]:
    """Once for all tests: to draw a page of charts is what takes time."""
    with open_alive(page_file, width=DESKTOP, theme="light") as page:
        yield page


def each_view(page: Page) -> Iterator[str]:
    """Make the page what it is on a desk, in light colours, and what it is on a phone, in dark ones."""
    for width, theme in ((DESKTOP, "light"), (PHONE, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        yield theme


def test_the_page_is_whole_and_small(opened: Opened, page_file: Path) -> None:
    assert page_file.stat().st_size < MOST_BYTES
    assert opened.page.locator("figure .vega-embed svg").count() == opened.page.locator("figure").count() > 0
    for theme in each_view(opened.page):
        assert opened.page.evaluate(OVERFLOW) == [0, []], theme
        assert opened.page.evaluate(SCALE, 0) > 0.6, theme
    assert (opened.errors, opened.requests) == ([], [])


def test_a_table_sorts_by_its_heads(opened: Opened) -> None:
    table = opened.page.locator("details", has_text="Table of every arm").locator("table").last
    column = 2  # the first score

    def read() -> list[float]:
        return [float(text) for text in table.locator(f"tbody tr td:nth-child({column})").all_text_contents()]

    before, head = read(), table.locator(f"thead th:nth-child({column})")
    for direction, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").dispatch_event("click")
        assert head.get_attribute("aria-sort") == direction
        assert read() == sorted(before, reverse=reverse)


def test_a_chart_shows_the_numbers_behind_it(opened: Opened) -> None:
    """Beside the mouse, and in a table."""
    figure = opened.page.locator("figure").first
    figure.locator(".vega-embed svg .mark-rect path").first.dispatch_event("pointermove")
    assert "value" in str(opened.page.locator("#vg-tooltip-element.visible").text_content())
    heads = figure.locator(".data th").all_text_contents()
    assert {"column", "arm", "value", "verdict"} < set(heads)
    rows = figure.evaluate("(one) => JSON.parse(one.querySelector('script').textContent).datasets.rows.arm.length")
    assert figure.locator(".data tbody tr").count() == rows > 0


def test_a_chart_of_several_panels_is_drawn_anew_in_a_narrower_window(opened: Opened, page_file: Path) -> None:
    if page_file == LAST_RUN:
        pytest.skip("Chromium draws no frame now and then of so large a page")
    assert [*each_view(opened.page)] == ["light", "dark"]
    opened.page.evaluate("document.querySelector('[id^=paths]').scrollIntoView()")
    opened.page.wait_for_function(f"({SCALE})(2) > 0.6", polling=100)


def test_everyone_can_use_the_page(opened: Opened, page_file: Path) -> None:
    """The last run's page on a phone alone: its colours on a desk are those of the other one."""
    opened.page.evaluate(SHORTEN)
    for theme in each_view(opened.page):
        if (page_file, theme) != (LAST_RUN, "light"):
            assert [
                (theme, rule["id"], rule["nodes"][0]["html"][:200])
                for rule in Axe().run(opened.page).response["violations"]
                if rule["impact"] in ("serious", "critical")
            ] == []


def test_without_scripts_every_chart_is_there(opened: Opened, page_file: Path) -> None:
    browser = opened.page.context.browser
    page = open_page(browser, page_file, width=PHONE, theme="light", scripts=False).page
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    assert page.locator(".chart[role=img] > svg").count() == page.locator("figure").count() > 0
    assert page.locator(".chart > svg").first.bounding_box()["width"] > 200
    assert page.evaluate(OVERFLOW) == [0, []]
