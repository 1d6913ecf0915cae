"""What a user sees of a stage: its help, its errors in one line, its progress without a terminal."""

import pytest

from stages.lib.core.cli import Progress, UserError, parse_arguments, run_main


def test_a_user_error_is_one_line_and_status_1() -> None:
    def fail() -> None:
        raise UserError("this is wrong, expected that: mend it")

    with pytest.raises(SystemExit) as caught:
        run_main(fail)
    assert str(caught.value) == "error: this is wrong, expected that: mend it"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 / 0)  # type: ignore[arg-type, return-value]


def test_help_is_the_docstring(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["stages.train", "--help"])
    with pytest.raises(SystemExit):
        parse_arguments("Fit one run.\n\nReads   this\nWrites  that", "study", "variant")
    shown = capsys.readouterr().out
    for part in ("Fit one run.", "Writes  that", "a study of params.yaml"):
        assert part in shown


def test_progress_without_a_terminal_is_a_line_for_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2000, label="study variant", unit="rows") as progress:
        for done in range(1, 2001):
            progress.report(done)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "study variant: 200 of 2,000 rows"
    assert lines[-1] == "study variant: 2,000 of 2,000 rows"
