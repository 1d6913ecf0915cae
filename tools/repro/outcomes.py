"""How the stages of a run ended."""

import enum
from dataclasses import dataclass
from pathlib import Path


class Outcome(enum.Enum):
    UNCHANGED = "unchanged"
    RUN = "run"
    RESTORED = "restored"  # from DVC's cache of earlier runs
    FAILED = "failed"
    SKIPPED = "skipped"  # because something upstream failed


@dataclass(frozen=True)
class Result:
    name: str
    outcome: Outcome
    seconds: float = 0.0
    cause: str = ""  # skipped: the stage that failed
    output: tuple[str, ...] = ()  # failed: the last lines that it printed
    log: Path | None = None  # failed: the file that holds all it printed


def describe_result(result: Result) -> str:
    if result.outcome is Outcome.SKIPPED:
        return f"skipped: {result.cause} failed"
    if result.outcome is Outcome.FAILED:
        return f"failed after {format_seconds(result.seconds)}"
    return format_seconds(result.seconds) if result.outcome is Outcome.RUN else result.outcome.value


def format_seconds(seconds: float) -> str:
    """`12 s`, `1 min 52 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
