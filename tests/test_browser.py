"""The report in a real browser: the made-up one, and the one of the last run where this checkout has it."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from stages import report
from tests.browser import in_a_browser, needs_chromium, open_page, scroll_through
from tests.conftest import ROOT
from tests.made import make_results

pytestmark = needs_chromium

LAST_RUN = ROOT / "metrics/report.html"
DESKTOP, PHONE = 1280, 390
MOST_BYTES = 3_000_000
# A sketch of the page: how wide it is, and what sticks out of it to the right.
OVERFLOW = """() => {
    const outside = (one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, svg");
    const found = [...document.querySelectorAll("body *")].filter(outside).map((one) => one.outerHTML.slice(0, 80));
    return [document.documentElement.scrollWidth - innerWidth, found];
}"""
# Rows of a table are written by one loop: axe-core needs the first of them, not 40,000 cells, which take it a minute.
SHORTEN = "document.querySelectorAll('tbody tr:nth-child(n + 8)').forEach((row) => row.remove())"
WAITING = """() => [...document.querySelectorAll("figure[data-charts]")].every(
    (one) => one.dataset.live === one.dataset.charts)"""


@pytest.fixture(scope="module")
def made_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(report.run(make_results())[Path("metrics/report.html")])
    return path


@pytest.fixture(params=["made", "last run"])
def page_file(request: pytest.FixtureRequest, made_page: Path) -> Path:
    if request.param == "made":
        return made_page
    if not LAST_RUN.is_file():
        pytest.skip("metrics/report.html is missing: run make")
    return LAST_RUN


@pytest.mark.parametrize(
    ("page_file", "width", "theme"),
    [
        *(("made", width, theme) for width in (DESKTOP, PHONE) for theme in ("light", "dark")),
        ("last run", DESKTOP, "light"),  # two of the four, since it is large
        ("last run", PHONE, "dark"),
    ],
    indirect=["page_file"],
)
@in_a_browser
def test_the_page_is_whole(browser: Browser, page_file: Path, width: int, theme: str) -> None:
    opened = open_page(browser, page_file, width=width, theme=theme)
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    assert page.evaluate(OVERFLOW) == [0, []]
    page.evaluate(SHORTEN)
    scroll_through(page)
    page.wait_for_function(WAITING, polling=100, timeout=30_000)
    assert page.locator("figure .vega-embed svg").count() == page.locator(".panel").count() > 0
    assert page.evaluate(OVERFLOW) == [0, []]
    assert (opened.errors, opened.requests) == ([], [])
    found = [
        (rule["id"], rule["nodes"][0]["html"][:200])
        for rule in Axe().run(page).response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
    assert found == []


@in_a_browser
def test_without_scripts_every_chart_is_there(browser: Browser, page_file: Path) -> None:
    page = open_page(browser, page_file, width=PHONE, theme="light", scripts=False).page
    assert page.locator(".panel > svg[role=img]").count() == page.locator(".panel").count() > 0
    assert page.locator(".panel > svg").first.bounding_box()["width"] > 200


@in_a_browser
def test_a_table_sorts_by_its_heads(browser: Browser, page_file: Path) -> None:
    page = open_page(browser, page_file, width=DESKTOP, theme="light").page
    fold = page.locator("details", has_text="Table of every arm").first
    fold.locator("summary").first.click()
    table = fold.locator("table").first
    column = 2  # the first score

    def read() -> list[str]:
        return [text.strip() for text in table.locator(f"tbody tr td:nth-child({column})").all_text_contents()]

    before = [float(text) for text in read()]
    head = table.locator(f"thead th:nth-child({column})")
    for direction, reverse in (("descending", True), ("ascending", False)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        assert [float(text) for text in read()] == sorted(before, reverse=reverse)


@in_a_browser
def test_a_chart_answers_to_the_mouse(browser: Browser, page_file: Path) -> None:
    page = open_page(browser, page_file, width=DESKTOP, theme="light").page
    page.locator("figure").first.locator(".vega-embed svg").first.wait_for()
    page.locator("figure").first.locator(".vega-embed svg .mark-symbol path").first.hover()
    page.locator("#vg-tooltip-element").wait_for(state="visible")
    assert "difference" in page.locator("#vg-tooltip-element").inner_text()


def test_the_page_stays_small(page_file: Path) -> None:
    assert page_file.stat().st_size < MOST_BYTES
