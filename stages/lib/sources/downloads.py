"""Sources that are web addresses."""

from __future__ import annotations

import http.client
import io
import sys
from contextlib import ExitStack

import pooch

from stages.lib.sources.folders import gunzip
from stages.lib.sources.pins import Broken, Source, Unavailable

TIMEOUT = (4.0, 15.0)  # seconds to connect, and between two pieces of the answer: short, since another source follows


def from_mirror(base_url: str, *, timeout: tuple[float, float] = TIMEOUT) -> Source:
    """A web folder with the files as .gz."""
    return Source(base_url, lambda name: gunzip(download(f"{base_url}{name}.gz", timeout=timeout)))


def download(url: str, *, timeout: tuple[float, float] = TIMEOUT) -> bytes:
    """The content of an address; raises Broken when the answer broke off, Unavailable when none came."""
    content = io.BytesIO()
    with ExitStack() as stack:  # closes the connection after a fault, which pooch leaves open
        fetch = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=2**16,
            timeout=timeout,
            hooks={"response": lambda response, **_: stack.enter_context(response)},
        )
        try:
            fetch(url, content, None)
        except OSError as error:  # all errors of requests are OSErrors; the root cause is the readable one
            cause: BaseException = error
            while cause.__context__:
                cause = cause.__context__
            broke_off = isinstance(cause, http.client.HTTPException | ConnectionResetError)
            raise (Broken if broke_off else Unavailable)(f"{type(cause).__name__}: {cause}") from error
    return content.getvalue()
