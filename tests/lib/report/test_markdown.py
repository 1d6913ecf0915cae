"""Text of others in Markdown."""

import pytest

from stages.lib.report.styles import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("l2: 0.1 -> [0.5, 1] (none)", "l2: 0.1 -> [0.5, 1] (none)"),
        ("-0.1 -> 0.5", "-0.1 -> 0.5"),
        ("0.5 -> 1", "0.5 -> 1"),
        ("a|b <b> &lt; $x$", "a\\|b &lt;b&gt; &amp;lt; \\$x\\$"),
        ("a\nb\r\n# c\u061cb\U000e0041c", "a b # c b c"),
        ("__all__ a _b_ batch_norm", "\\_\\_all\\_\\_ a \\_b\\_ batch_norm"),
        ("x" * 500, "x" * 157 + "..."),
        (" # a", "\\# a"),
        ("## a", "\\## a"),
        ("- b", "\\- b"),
        ("12. c", "12\\. c"),
        ("[x] done", "\\[x] done"),
        ("_www.evil.example www.b :tada:", "\\_www\u200b.evil.example www\u200b.b :\u200btada:"),
        ("owner/name#12, gh-3, #1", "owner/name#\u200b12, gh-\u200b3, #\u200b1"),
        ("a@b https://c", "a@\u200bb https:\u200b//c"),
    ],
)
def test_text_is_shown_as_it_is_written(text: str, shown: str) -> None:
    assert escape(text) == shown
