"""The page of `dvc plots`, .dvc/plots_page.html: with Vega inside, so that plots open offline.

`python -m tools.plots_page` writes it, after another version of DVC or vl-convert-python was pinned.
"""

from __future__ import annotations

from pathlib import Path

import vl_convert
from dvc_render.html import PAGE_HTML

from stages.lib.report.charts import VEGA_LITE
from stages.lib.report.page import NOTICES

PAGE = Path(".dvc/plots_page.html")
# No place on the page have a file without rows of its kind, and records that are no plots.
EMBED = """
window.vegaEmbed = (place, spec, options) => {
  const name = spec.title?.text ?? spec.title ?? "";
  const isPlot = !/^metrics[/]comparison[/]/.test(name);
  if (isPlot && spec.data?.values?.length) return vegaEmbed(place, spec, options);
  document.querySelector(place).remove();
};
"""
HEAD = """<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>
body {{ font-family: system-ui, sans-serif; margin: 1rem; }}
body > div, body > .vega-embed {{ display: block; overflow-x: auto; margin-bottom: 2rem; }}
</style>
<!--
{notices}
-->
<script>{bundle}</script>"""


def render_plots() -> str:
    """DVC's own page, with these in the place of the scripts that it would load."""
    bundle = vl_convert.javascript_bundle(EMBED, vl_version=VEGA_LITE)
    return PAGE_HTML.replace("{scripts}", HEAD.format(notices=NOTICES.read_text(encoding="utf-8"), bundle=bundle))


def main() -> None:
    PAGE.write_text(render_plots(), encoding="utf-8")


if __name__ == "__main__":
    main()
