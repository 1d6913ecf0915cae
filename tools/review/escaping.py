"""Text of others in Markdown: what was committed is shown as it is written, and does nothing else."""

from __future__ import annotations

import re

MOST = 160  # characters of one text
SPECIAL = re.compile(r"[`|*~\\]|!(?=\[)|(?<=\])\(|(?<![^\W_])_|_(?![^\W_])|^#")
LINKED = re.compile(r"@|:(?=//)|\bwww(?=\.)|#(?=\d)|\bGH-(?=\d)", re.IGNORECASE)  # what GitHub makes links of
HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+"
)  # also what turns lines around


def escape(text: object) -> str:
    """One line, not too long, of which nothing is a table, a tag, a link, a mention or emphasis.

    `<` and `>` become entities, but the arrow of a change stays readable on a terminal.
    """
    shown = HIDDEN.sub(" ", str(text))
    shown = shown if len(shown) <= MOST else f"{shown[: MOST - 3]}..."
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = SPECIAL.sub(lambda found: "".join(f"\\{letter}" for letter in found[0]), shown)
    shown = LINKED.sub("\\g<0>\u200b", shown)
    return shown.replace(" -&gt; ", " -> ")
