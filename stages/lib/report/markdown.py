"""Text of others in Markdown: what was committed is shown as it is written, and does nothing else."""

from __future__ import annotations

import re
import unicodedata

MOST = 160  # characters of one text, if the caller sets no other limit
SPECIAL = re.compile(r"[`|*~$\\]|!(?=\[)|(?<=\])\(|(?<![^\W_])_|_(?![^\W_])")
STARTS = re.compile(r"^(\d*)([#+.)-]|\[(?=[ xX]\]))(?=#* |#*$|[ xX]\])")  # what begins a heading, a list, a box to tick
# What GitHub makes a link or a picture of.
LINKED = re.compile(r"@|:(?=//)|:(?=[\w+-]+:)|(?<![^\W_])www(?=\.)|#(?=\d)|\bGH-(?=\d)", re.IGNORECASE)
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories, also of what turns lines around


def escape(text: object, *, most: int = MOST) -> str:
    """One line of at most `most` characters, of which nothing is a table, a tag, a link, a mention or emphasis.

    `<` and `>` become entities, but the arrow of a change stays readable on a terminal.
    """
    letters = ["\0" if unicodedata.category(letter) in HIDDEN else letter for letter in str(text)[: 2 * most]]
    shown = re.sub("\0+", " ", "".join(letters)).strip()
    shown = shown if len(shown) <= most else f"{shown[: most - 3]}..."
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = SPECIAL.sub(lambda found: "".join(f"\\{letter}" for letter in found[0]), shown)
    shown = LINKED.sub("\\g<0>\u200b", STARTS.sub(r"\1\\\2", shown))
    return shown.replace(" -&gt; ", " -> ")
