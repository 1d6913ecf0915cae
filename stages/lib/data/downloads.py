"""Sources that are web addresses."""

from __future__ import annotations

import http.client
import io
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from stages.lib.data.folders import SLACK, gunzip
from stages.lib.data.pins import Broken, Source, Unavailable

TIMEOUT = (4.0, 15.0)  # seconds to connect, and between two pieces of the answer: short, since another source follows
PATIENCE = 30.0  # seconds for a whole answer, however short
SLOWEST = 200_000  # bytes a second that a longer one has to come with


def from_mirror(base_url: str, *, timeout: tuple[float, float] = TIMEOUT, patience: float = PATIENCE) -> Source:
    """A web folder with the files as .gz."""

    def read(name: str, size: int) -> bytes:
        answer = download(f"{base_url}{name}.gz", most=size + SLACK, timeout=timeout, patience=patience)
        return gunzip(answer, size)

    return Source(base_url, read)


class Bounded(io.BytesIO):
    """Bytes in memory, and no more than so many."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(piece) > self.most:
            raise Unavailable(f"more than {self.most:,} bytes, expected fewer")
        return super().write(piece)


def download(url: str, *, most: int, timeout: tuple[float, float] = TIMEOUT, patience: float = PATIENCE) -> bytes:
    """The content of an address; raises Broken when the answer broke off, Unavailable when none came.

    most: bytes that it may have.
    """
    import pooch  # slow to import

    content = Bounded(most)
    with ExitStack() as stack:  # closes the connection after a fault, which pooch leaves open
        fetch = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=2**16,
            timeout=timeout,
            hooks={"response": lambda response, **_: drop_detour(stack.enter_context(response))},
        )
        stack.enter_context(within(patience + most / SLOWEST))
        try:
            fetch(url, content, None)
        except OSError as error:  # all errors of requests are OSErrors; the root cause is the readable one
            cause: BaseException = error
            while cause.__context__:
                cause = cause.__context__
            broke_off = isinstance(cause, http.client.HTTPException | ConnectionResetError)
            raise (Broken if broke_off else Unavailable)(f"{type(cause).__name__}: {cause}") from error
    return content.getvalue()


def drop_detour(response: Any) -> None:
    """Close a redirect before its body is read, which requests would do to its end."""
    if response.is_redirect:
        response.close()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Unavailable when that time is over: a byte now and then would keep every other limit."""

    def stop(*_: object) -> None:
        raise Unavailable(f"gave no whole answer within {seconds:.3g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
