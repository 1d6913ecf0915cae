"""What is kept of a stage's parts: taken where nothing has changed, made anew where something has."""

from pathlib import Path

import pytest

from stages.lib.lanes import kept


@pytest.fixture
def made(inside: Path) -> list[str]:
    """What was made, in its order."""
    Path("input").write_text("one")
    return []


def recall(made: list[str], text: str = "plan", *, during: str = "") -> str:
    """The content of the file that is kept of a text and of a file, or made of them; during: what the file becomes."""

    def make(folder: Path) -> None:
        made.append(f"{text} {Path('input').read_text()}")
        folder.mkdir(parents=True)
        (folder / "output").write_text(made[-1])
        if during:
            Path("input").write_text(during)

    kept.recall("of/this", [text, Path("input")], make, Path("target"))
    return Path("target/output").read_text()


def test_what_is_kept_is_taken_and_shares_its_bytes_on_the_disk(made: list[str]) -> None:
    assert recall(made) == recall(made) == "plan one"
    assert made == ["plan one"]
    assert Path("target/output").stat().st_nlink == 2


def test_another_text_or_file_makes_it_anew_and_the_newest_alone_is_kept(made: list[str]) -> None:
    recall(made)
    assert recall(made, "other") == "other one"
    Path("input").write_text("two")
    assert recall(made, "other") == "other two"
    assert len([*kept.KEPT.rglob("output")]) == 1


def test_what_was_made_of_an_input_that_changed_meanwhile_is_not_kept(made: list[str]) -> None:
    recall(made, during="later")
    Path("input").write_text("one")
    recall(made)
    assert made == ["plan one", "plan one"]


def test_what_was_stopped_half_way_is_made_anew(made: list[str]) -> None:
    recall(made)
    next(kept.KEPT.rglob(kept.WHOLE)).unlink()
    assert recall(made) == "plan one"
    assert len(made) == 2
