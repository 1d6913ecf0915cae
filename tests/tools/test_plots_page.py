"""The page of `dvc plots` is the one that tools/plots_page.py writes, whatever version of Vega is pinned."""

from tools.plots_page import PAGE, render_plots


def test_the_page_is_up_to_date_has_the_places_that_dvc_fills_and_asks_nobody() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == render_plots()
    assert page.count("{plot_divs}") == page.count("{refresh_tag}") == 1
    assert "{scripts}" not in page
    assert "src=" not in page.partition("<script>")[0]
