"""A figure's panels in one SVG file, for pages that show pictures: Markdown, README."""

from __future__ import annotations

import re

from stages.lib.report.figure import FONT, INK, MUTED, PAGE, THEMES, Figure, paint
from stages.lib.report.styles import SHAPES

PER_ROW = {"wide": 3, "small": 6}
GAP, LEGEND = 12, 26
PICTURE, PER_LINE, CAPTION = 84, 8, 15


def draw_picture(figure: Figure, theme: str) -> str:
    """The figure in the colours of one theme, on a transparent page."""
    return paint(lay_out(figure), theme)


def draw_page(figure: Figure) -> str:
    """The figure on a page of its own, light or dark as the reader's system is."""
    style = "".join(
        f"{media}svg{{{';'.join(f'{name[4:-1]}:{colour}' for name, colour in THEMES[theme].items())}}}{end}"
        for theme, media, end in (("light", "", ""), ("dark", "@media(prefers-color-scheme:dark){", "}"))
    )
    page = f'<style>{style}</style><rect width="100%" height="100%" fill="{PAGE}"/>'
    return re.sub(r"(<svg [^>]*>)", rf"\1{page}", lay_out(figure), count=1)


def lay_out(figure: Figure) -> str:
    """Panels in rows, the legend above them."""
    top = LEGEND if figure.legend else GAP
    parts, width = [draw_legend(figure.legend)], 0
    svgs = [panel.svg for panel in figure.panels]
    for first in range(0, len(svgs), PER_ROW[figure.kind]):
        left, height = GAP, 0
        for svg in svgs[first : first + PER_ROW[figure.kind]]:
            parts.append(svg.replace("<svg ", f'<svg x="{left}" y="{top}" ', 1))
            left, height = left + find_size(svg, "width") + GAP, max(height, find_size(svg, "height"))
        width, top = max(width, left), top + height + GAP
    if figure.pictures:
        pictures, width, top = draw_pictures(figure, top)
        parts.append(pictures)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    return f"{head}<title>{figure.title}</title>{''.join(parts)}</svg>\n"


def find_size(svg: str, name: str) -> int:
    found = re.search(rf'<svg [^>]*?\b{name}="([\d.]+)"', svg)
    return round(float(found[1])) if found else 0


def draw_legend(legend: list[tuple[str, str, str]]) -> str:
    left, parts = GAP + 8, []
    for label, colour, shape in legend:
        parts.append(f'<path transform="translate({left},13)" d="{SHAPES[shape]}" fill="{colour}" stroke="{colour}"/>')
        parts.append(f'<text x="{left + 12}" y="17" font-family="{FONT}" font-size="12px" fill="{INK}">{label}</text>')
        left += 36 + 7 * len(label)
    return "".join(parts)


def draw_pictures(figure: Figure, top: int) -> tuple[str, int, int]:
    """Grey pictures with their captions, a line for each variant."""
    parts, width = [], 0
    for variant, pictures in figure.group_pictures():
        parts.append(
            f'<text x="{GAP}" y="{top + 11}" font-family="{FONT}" font-size="12px" fill="{INK}">{variant}</text>'
        )
        left, top = GAP, top + 16
        for picture in pictures:
            wide = picture.width * PICTURE / picture.height
            parts.append(
                f'<image x="{left}" y="{top}" width="{wide:.0f}" height="{PICTURE}" style="image-rendering:pixelated" '
                f'href="data:image/png;base64,{picture.png}"/>'
            )
            for line, text in enumerate(picture.label.split(", ") if picture.shows == "mistake" else ()):
                y = top + PICTURE + 11 + 12 * line
                parts.append(
                    f'<text x="{left}" y="{y}" font-family="{FONT}" font-size="10px" fill="{MUTED}">{text}</text>'
                )
            left += round(max(wide, 118 if picture.shows == "mistake" else 0)) + GAP
        width, top = max(width, left), top + PICTURE + (2 * CAPTION if pictures[0].shows == "mistake" else 0) + GAP
    return "".join(parts), width, top
