"""How Ctrl-C and SIGTERM end a run: at once, but never in the midst of a step that must not be cut short."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asks this run to end."""

    def __init__(self, number: int):
        self.number = number


class Handler:
    """Raises Stopped when a signal comes, or at the end of the step that is under way."""

    def __init__(self) -> None:
        self.in_step, self.pending = False, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.in_step:
            self.pending = number
            return
        ignore()  # what follows is short, and must not be cut short
        raise Stopped(number)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold signals back: for what takes a moment, and would leave something behind if it were cut short."""
        self.in_step = True
        try:
            yield
        finally:
            self.in_step = False
            if self.pending:  # also where the step has failed: the signal may be why
                ignore()
                raise Stopped(self.pending)


HANDLER = Handler()


def listen() -> None:
    for number in HANDLED:
        signal.signal(number, HANDLER)


def ignore() -> None:
    """From here on the run ends in order, whatever else is pressed."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
