"""What a run prints at its end: the answer that the stage `report` has written for a terminal."""

from pathlib import Path

ANSWER, REPORT = Path("metrics/answer.txt"), Path("metrics/report.html")


def show() -> None:
    if ANSWER.is_file():  # printed as it is, but for what would steer a terminal
        print("".join(c for c in ANSWER.read_text(encoding="utf-8") if c.isprintable() or c == "\n"), end="")
    if REPORT.is_file():
        print(f"\nFigures and tables: {REPORT} (make show)", end="")
